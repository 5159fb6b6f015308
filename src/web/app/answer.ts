import { useEffect, useRef, useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import type { Answer, Call, Calls } from '../engine/protocol.ts'
import { useEngine } from './engine.tsx'

export interface Answered<T> {
  /** The last answer; stays until there is another. */
  value: T | null
  busy: boolean
  error: string | null
}

/**
 * The engine's answer to a question that changes: the newest question is asked when the one before is answered, those between
 * are not asked at all. `key` says when two questions are the same; null args ask nothing.
 */
export function useAnswer<C extends Call>(
  call: C,
  args: Parameters<Calls[C]> | null,
  key: string,
  first: Answer<C> | null = null,
): Answered<Answer<C>> {
  const { client } = useEngine()
  const [state, setState] = useState<Answered<Answer<C>>>({ value: first, busy: false, error: null })
  const newest = useRef<{ args: Parameters<Calls[C]>; key: string } | null>(null)
  const asking = useRef(false)

  const ask = async () => {
    asking.current = true
    for (let asked: typeof newest.current = null; newest.current && newest.current !== asked; ) {
      asked = newest.current
      try {
        const value = await client.ask(call, asked.args)
        if (newest.current === asked) setState({ value, busy: false, error: null })
      } catch (error) {
        if (newest.current === asked)
          setState((before) => ({ ...before, busy: false, error: messageOf(error) }))
      }
    }
    asking.current = false
  }

  useEffect(() => {
    newest.current = args && { args, key }
    if (!args) return
    setState((before) => ({ ...before, busy: true }))
    if (!asking.current) ask()
  }, [key, args === null])
  return state
}
