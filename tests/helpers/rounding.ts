import { backend } from '../../src/backend/backend.ts'
import type { HeldDtype } from '../../src/backend/dtypes.ts'
import { LIMITS } from '../../src/backend/limits.ts'

/** By how much of itself a number of so many rows is off at most where our kernels multiply it with weights held so: mostly 0. */
export function rowRounding(held: HeldDtype, rows = Number.POSITIVE_INFINITY): number {
  const rounds = ['bfloat16', 'int8', 'int4', 'mxfp4'].includes(held) && rows > LIMITS.fewRows
  return rounds ? (backend().processor?.rowRounding ?? 0) : 0
}

/**
 * A logit passes tens of products, each with up to three roundings of random sign. Their errors add up like a random walk, to a few
 * roundings (2 to 5 measured); a wrong scale, order or operand would give hundreds.
 */
export const ROUNDINGS = 10

/** What logits may be further from those of float32 for it, of the largest of them. */
export function roundedShare(held: HeldDtype, rows: number): number {
  return ROUNDINGS * rowRounding(held, rows)
}
