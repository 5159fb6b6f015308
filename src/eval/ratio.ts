import { sum } from '../sums.ts'

/** A mean over tokens, from documents that were drawn whole. */
export interface TokenMean {
  mean: number
  /** Null with fewer than two documents. */
  standardError: number | null
}

/**
 * sum of `values` / sum of `weights` (one each a document) with the standard error of a ratio of sums, which takes the
 * documents, not their tokens, as the independent draws (Cochran, Sampling Techniques, 1977, chapter 6).
 */
export function ratioOfSums(values: readonly number[], weights: readonly number[]): TokenMean {
  const total = sum(weights)
  const mean = sum(values) / total
  const n = values.length
  if (n < 2) return { mean, standardError: null }
  const residuals = values.map((value, i) => (value - mean * weights[i]) ** 2)
  return { mean, standardError: Math.sqrt((n / (n - 1)) * sum(residuals)) / total }
}
