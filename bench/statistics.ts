/** What a row says of its samples, milliseconds. */
export interface Summary {
  n: number
  medianMs: number
  p10Ms: number
  p90Ms: number
}

/** @throws Error when there is no sample */
export function summarize(samples: readonly number[]): Summary {
  return {
    n: samples.length,
    medianMs: quantile(samples, 0.5),
    p10Ms: quantile(samples, 0.1),
    p90Ms: quantile(samples, 0.9),
  }
}

/** Linear between the two nearest ranks: type 7 of Hyndman and Fan (1996), as numpy and R count by default. */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) throw new Error('quantile: no samples')
  const sorted = [...samples].sort((a, b) => a - b)
  const rank = q * (sorted.length - 1)
  const below = Math.floor(rank)
  const above = Math.ceil(rank)
  return sorted[below] + (rank - below) * (sorted[above] - sorted[below])
}
