import { useEffect, useRef, useState } from 'preact/hooks'
import { messageOf } from '../../errors.ts'
import type { Answer, Call, Calls } from '../engine/protocol.ts'
import { useEngine } from './engine.tsx'

export interface Answered<T> {
  /** The last answer; stays until there is another. */
  value: T | null
  /** The answer to what is asked now is not there yet. */
  busy: boolean
  error: string | null
}

/** What was answered last, and to which question. */
interface Last<T> {
  key: string | null
  value: T | null
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
  const [last, setLast] = useState<Last<Answer<C>>>({ key: null, value: first, error: null })
  const newest = useRef<{ args: Parameters<Calls[C]>; key: string } | null>(null)
  const asking = useRef(false)

  const ask = async () => {
    asking.current = true
    for (let asked: typeof newest.current = null; newest.current && newest.current !== asked; ) {
      asked = newest.current
      try {
        const value = await client.ask(call, asked.args)
        if (newest.current === asked) setLast({ key: asked.key, value, error: null })
      } catch (error) {
        const failed = { key: asked.key, error: messageOf(error) }
        if (newest.current === asked) setLast((before) => ({ ...before, ...failed }))
      }
    }
    asking.current = false
  }

  // Not a state of its own: that would be set after a frame that already shows the new question.
  const busy = args !== null && last.key !== key
  useEffect(() => {
    newest.current = busy ? { args, key } : null
    if (busy && !asking.current) ask()
  }, [key, args === null])
  return { value: last.value, busy, error: last.error }
}
