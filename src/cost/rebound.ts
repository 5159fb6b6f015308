/*
 * Jevons' question (The Coal Question, 1865): a thing gets cheaper; is less spent on it, or more? With demand of constant
 * elasticity e, use is proportional to price^-e.
 */

export interface Rebound {
  elasticity: number
  /** Use and total spend, as multiples of those before. */
  use: number
  spend: number
}

/** At 1 the growth of use and the fall of the price cancel, whatever the price does. */
export const BREAK_EVEN_ELASTICITY = 1

/** The price falls to 1/f: use grows by f^e, so spend changes by f^(e-1). */
export function rebound(costFactor: number, elasticity: number): Rebound {
  return { elasticity, use: costFactor ** elasticity, spend: costFactor ** (elasticity - 1) }
}

/** The elasticity that a seen growth of use means; null when the price did not move. */
export function impliedElasticity(costFactor: number, useFactor: number): number | null {
  return costFactor === 1 ? null : Math.log(useFactor) / Math.log(costFactor)
}

/** `steps` + 1 points from elasticity 0 to `max`. */
export function reboundCurve(costFactor: number, max: number, steps: number): Rebound[] {
  return Array.from({ length: steps + 1 }, (_, i) => rebound(costFactor, (max * i) / steps))
}
