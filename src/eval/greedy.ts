import { setImmediate as nextTurn } from 'node:timers/promises'
import type { EvalForward, Watch } from './loss.ts'

/** Prompts that are continued at once. */
const BATCH = 64

export interface Continuation {
  prompt: readonly number[]
  /** New tokens at most. */
  limit: number
}

export interface GreedyOptions extends Watch {
  /** Ends a continuation after this token, which is its last. */
  isEnd(token: number): Promise<boolean>
}

/**
 * The most likely continuation of each prompt, as `generate` at temperature 0 gives it, several at once: prompts of like
 * lengths are padded on the left, and one that has ended is fed on, unread, until its batch has.
 */
export async function continueGreedily(
  model: EvalForward,
  continuations: readonly Continuation[],
  { isEnd, signal, onShare }: GreedyOptions,
): Promise<number[][]> {
  const results: number[][] = continuations.map(() => [])
  const order = [...continuations.keys()].sort(
    (a, b) => continuations[a].prompt.length - continuations[b].prompt.length,
  )
  for (let from = 0; from < order.length; from += BATCH) {
    const batch = order.slice(from, from + BATCH)
    const rows = batch.map((index) => ({ ...continuations[index], tokens: results[index], ended: false }))
    await continueBatch(model, rows, isEnd, signal)
    onShare?.(Math.min(1, (from + BATCH) / order.length))
  }
  return results
}

type Row = Continuation & { tokens: number[]; ended: boolean }

async function continueBatch(
  model: EvalForward,
  rows: Row[],
  isEnd: GreedyOptions['isEnd'],
  signal?: AbortSignal,
): Promise<void> {
  const cache = model.createCache()
  const goesOn = ({ tokens, limit, ended }: Row) => tokens.length < limit && !ended
  try {
    let next = rows.map(({ prompt }) => [...prompt])
    while (rows.some(goesOn)) {
      await nextTurn() // an interrupt is seen only between turns of the event loop
      signal?.throwIfAborted()
      const { tokens: chosen } = model.greedy(next, { cache })
      next = []
      for (const [b, row] of rows.entries()) {
        if (goesOn(row)) {
          row.tokens.push(chosen[b])
          row.ended = await isEnd(chosen[b])
        }
        next.push([row.tokens.at(-1) ?? row.prompt[0]])
      }
    }
  } finally {
    cache.dispose()
  }
}
