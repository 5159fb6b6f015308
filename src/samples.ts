import { quantile as quantileOf, quantileSorted } from 'd3-array'
import { Xoshiro128 } from './generate/random.ts'

/** What a row says of its samples, milliseconds. */
export type Summary = ReturnType<typeof summarize>

/** Samples further than this many interquartile ranges outside the quartiles are outliers (Tukey 1977: "far out"). */
const FAR_OUT = 3

export const OUTLIER_RULE = `further than ${FAR_OUT} interquartile ranges outside the quartiles (Tukey's "far out"); counted, and kept in every number`

/** @throws Error when there is no sample */
export function summarize(samples: readonly number[]) {
  if (samples.length === 0) throw new Error('summarize: no samples')
  const sorted = Float64Array.from(samples).sort()
  const [lower, upper] = [rank(sorted, 0.25), rank(sorted, 0.75)]
  const margin = FAR_OUT * (upper - lower)
  return {
    n: sorted.length,
    medianMs: rank(sorted, 0.5),
    p10Ms: rank(sorted, 0.1),
    p90Ms: rank(sorted, 0.9),
    p99Ms: rank(sorted, 0.99),
    outliers: sorted.filter((ms) => ms < lower - margin || ms > upper + margin).length,
  }
}

/** Linear between the two nearest ranks: type 7 of Hyndman and Fan (1996), as d3, numpy and R count by default. */
export function quantile(samples: ArrayLike<number>, q: number): number {
  const found = quantileOf(Array.from(samples), q)
  if (found === undefined) throw new Error('quantile: no samples')
  return found
}

const RESAMPLES = 1000
/** With fewer pairs the same few numbers would be drawn again and again, and the interval would be their range. */
const MIN_PAIRS = 5

export const INTERVAL_RULE = `95 % of ${RESAMPLES} ratios of medians, each of as many rounds drawn with replacement (percentile bootstrap, seeded; a round holds one run of every variant); none under ${MIN_PAIRS} rounds`

/**
 * 95 % bootstrap interval of median(numerators) / median(denominators). Pairs of the same round are drawn together, since
 * what disturbed one run of a round has disturbed the other. Null for too few pairs.
 */
export function ratioInterval(
  numerators: readonly number[],
  denominators: readonly number[],
  seed: number,
): { low: number; high: number } | null {
  const n = Math.min(numerators.length, denominators.length)
  if (n < MIN_PAIRS) return null
  const random = Xoshiro128.fromSeed(seed)
  const drawn = [new Float64Array(n), new Float64Array(n)]
  const ratios = Float64Array.from({ length: RESAMPLES }, () => {
    for (let i = 0; i < n; i++) {
      const round = Math.floor(random.uniform() * n)
      drawn[0][i] = numerators[round]
      drawn[1][i] = denominators[round]
    }
    return rank(drawn[0].sort(), 0.5) / rank(drawn[1].sort(), 0.5)
  }).sort()
  return { low: rank(ratios, 0.025), high: rank(ratios, 0.975) }
}

function rank(sorted: Float64Array, q: number): number {
  return quantileSorted(sorted as ArrayLike<number> as number[], q)! // typed arrays do, but its types know none
}
