import { Xoshiro128 } from '../src/generate/random.ts'
import { quantile } from '../src/samples.ts'

/** Timed calls of the same work in two sessions, each in the order they were taken. */
export interface Pair {
  a: readonly number[]
  b: readonly number[]
}

type Change = NonNullable<ReturnType<typeof changes>[number]>
export type Verdict = 'faster' | 'slower' | 'within noise' | 'not known'

const RESAMPLES = 1000
const CONFIDENCE = 0.99
/** A smaller change is not called one: two sessions on the same machine differ by this much for no reason to be found. */
const MIN_EFFECT = 0.03
/** With fewer the draws are the same few numbers again and again. */
const MIN_SAMPLES = 5

export const CHANGE_RULE = `ratio of medians, B by A; changed when it is more than ${100 * MIN_EFFECT} % away from 1 and its interval leaves out 1. The intervals are made so that all of them together hold with ${100 * CONFIDENCE} % (largest of the standardised deviations of ${RESAMPLES} bootstrap draws over all rows, seeded; samples are drawn in blocks of their cube root, since a disturbance lasts longer than one call). At least ${MIN_SAMPLES} samples on both sides`

/**
 * median(b) / median(a) of each pair with an interval that holds for all at once; null for too few samples. Of many intervals at 95 % each, some would miss by chance. So one width, in
 * standard errors, is taken for all: the largest deviation over all pairs stays under it in 95 % of the draws (the maxT of
 * Westfall and Young 1993). Draws are of circular blocks (Politis and Romano 1992).
 */
export function changes(pairs: readonly Pair[], seed: number) {
  const random = Xoshiro128.fromSeed(seed)
  const largest = new Float64Array(RESAMPLES)
  const found = pairs.map(({ a, b }) => {
    if (Math.min(a.length, b.length) < MIN_SAMPLES) return null
    const logRatio = Math.log(quantile(b, 0.5) / quantile(a, 0.5))
    const [drawA, drawB] = [medianDrawer(a, random), medianDrawer(b, random)]
    const deviations = Float64Array.from({ length: RESAMPLES }, () => Math.log(drawB() / drawA()) - logRatio)
    const error = Math.sqrt(deviations.reduce((sum, d) => sum + d * d, 0) / RESAMPLES)
    if (error > 0) {
      for (const [i, d] of deviations.entries()) largest[i] = Math.max(largest[i], Math.abs(d) / error)
    }
    return { logRatio, error }
  })
  const width = quantile(largest, CONFIDENCE)
  return found.map((one) => {
    if (one === null) return null
    const { logRatio, error } = one
    return {
      ratio: Math.exp(logRatio),
      low: Math.exp(logRatio - width * error),
      high: Math.exp(logRatio + width * error),
    }
  })
}

export function verdictOf(change: Change | null): Verdict {
  if (change === null) return 'not known'
  const { ratio, low, high } = change
  if (low > 1 && ratio > 1 + MIN_EFFECT) return 'slower'
  if (high < 1 && ratio < 1 / (1 + MIN_EFFECT)) return 'faster'
  return 'within noise'
}

/** Gives the median of as many samples as there are, drawn in blocks. Counting by rank spares sorting every draw. */
function medianDrawer(samples: readonly number[], random: Xoshiro128): () => number {
  const n = samples.length
  const block = Math.ceil(Math.cbrt(n))
  const order = Array.from(samples.keys()).sort((i, j) => samples[i] - samples[j])
  const sorted = order.map((i) => samples[i])
  const ranks = new Int32Array(n)
  for (const [rank, i] of order.entries()) ranks[i] = rank
  const counts = new Int32Array(n)
  const atRank = (wanted: number) => {
    let rank = 0
    for (let passed = counts[0]; passed <= wanted; passed += counts[rank]) rank++
    return sorted[rank]
  }
  return () => {
    counts.fill(0)
    for (let drawn = 0; drawn < n; ) {
      const start = Math.floor(random.uniform() * n)
      for (let i = 0; i < block && drawn < n; i++, drawn++) counts[ranks[(start + i) % n]]++
    }
    return (atRank(Math.floor((n - 1) / 2)) + atRank(Math.floor(n / 2))) / 2
  }
}
