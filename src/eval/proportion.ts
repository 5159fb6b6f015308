import { sum } from '../sums.ts'

/** A share counted in a sample, with its 95 % interval. */
export interface Proportion {
  correct: number
  total: number
  /** Ends of the Wilson interval; 0 and 1 when nothing was counted. */
  low: number
  high: number
}

/** Correct ones of all; 0 where nothing was counted. */
export function shareOf({ correct, total }: Pick<Proportion, 'correct' | 'total'>): number {
  return total === 0 ? 0 : correct / total
}

/** Two-sided 95 % point of the standard normal distribution. */
const Z = 1.959963984540054

/**
 * `correct` of `total` with the score interval of Wilson (1927): (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
 * Unlike p ± 1.96 standard errors it stays in [0, 1] and has a width at 0 and at 1, where small models often are.
 */
export function proportion(correct: number, total: number): Proportion {
  if (total === 0) return { correct, total, low: 0, high: 1 }
  const p = correct / total
  const denominator = 1 + Z ** 2 / total
  const centre = p + Z ** 2 / (2 * total)
  const half = Z * Math.sqrt((p * (1 - p)) / total + Z ** 2 / (4 * total ** 2))
  return {
    correct,
    total,
    low: correct === 0 ? 0 : (centre - half) / denominator, // exactly 0 and 1 at the ends, not nearly
    high: correct === total ? 1 : (centre + half) / denominator,
  }
}

/** Several counts as one. */
export function pooled(parts: readonly Proportion[]): Proportion {
  return proportion(sum(parts.map(({ correct }) => correct)), sum(parts.map(({ total }) => total)))
}
