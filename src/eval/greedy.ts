import { setImmediate as nextTurn } from 'node:timers/promises'
import { Xoshiro128 } from '../generate/random.ts'
import { nextToken, parseSampling } from '../generate/sampler.ts'
import type { EvalForward, Watch } from './loss.ts'

/** Prompts that are continued at once. */
const BATCH = 64
const GREEDY = parseSampling({ temperature: 0 })

export interface Continuation {
  prompt: readonly number[]
  /** New tokens at most. */
  limit: number
}

export interface GreedyOptions extends Watch {
  /** Ends a continuation after this token, which is its last. */
  isEnd(token: number): boolean
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
    const rows = batch.map((index) => ({ ...continuations[index], tokens: results[index] }))
    await continueBatch(model, rows, isEnd, signal)
    onShare?.(Math.min(1, (from + BATCH) / order.length))
  }
  return results
}

type Row = Continuation & { tokens: number[] }

async function continueBatch(
  model: EvalForward,
  rows: Row[],
  isEnd: (token: number) => boolean,
  signal?: AbortSignal,
): Promise<void> {
  const cache = model.createCache()
  const random = Xoshiro128.fromSeed(0) // not drawn from at temperature 0
  const goesOn = ({ tokens, limit }: Row) =>
    tokens.length < limit && (tokens.length === 0 || !isEnd(tokens.at(-1)!))
  try {
    let next = rows.map(({ prompt }) => [...prompt])
    while (rows.some(goesOn)) {
      await nextTurn() // an interrupt is seen only between turns of the event loop
      signal?.throwIfAborted()
      const { logits } = model.forward(next, { cache, logits: 'last' }) // [B, 1, V]
      const V = logits.shape[2] as number
      const values = logits.dataSync() as Float32Array
      logits.dispose()
      next = rows.map((row, b) => {
        if (!goesOn(row)) return [row.tokens.at(-1) ?? row.prompt[0]]
        row.tokens.push(nextToken(values.subarray(b * V, (b + 1) * V), [], GREEDY, random))
        return row.tokens.slice(-1)
      })
    }
  } finally {
    cache.dispose()
  }
}
