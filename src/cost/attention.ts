import type { AttentionShape } from '../model/config.ts'

/** How many keys a query sees, itself included; null: all. */
export function windowOf(attention: AttentionShape): number | null {
  return attention.kind === 'grouped' ? attention.slidingWindow : null
}

/** Keys that the last of `context` tokens meets. */
export function keysMet(attention: AttentionShape, context: number): number {
  return Math.min(context, windowOf(attention) ?? context)
}

/** Keys that a token of a causal prompt of `context` tokens meets on average: (S + 1) / 2 without a window. */
export function meanKeysMet(attention: AttentionShape, context: number): number {
  const W = keysMet(attention, context)
  return ((W * (W + 1)) / 2 + (context - W) * W) / context
}
