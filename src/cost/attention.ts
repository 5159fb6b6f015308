import type { AttentionShape } from '../model/config.ts'

/** How many keys a query sees, itself included; null: all. */
export function windowOf(attention: AttentionShape): number | null {
  return attention.kind === 'grouped' ? attention.slidingWindow : null
}

/** Keys that the last of `context` tokens meets. */
export function keysMet(attention: AttentionShape, context: number): number {
  const chunk = chunkOf(attention)
  if (chunk) return ((context - 1) % chunk) + 1
  return Math.min(context, windowOf(attention) ?? context)
}

/** Keys of `context` tokens that a next one may meet. */
export function keysKept(attention: AttentionShape, context: number): number {
  return Math.min(context, windowOf(attention) ?? chunkOf(attention) ?? context)
}

function chunkOf(attention: AttentionShape): number | undefined {
  return attention.kind === 'grouped' ? attention.chunk : undefined
}

/** Keys that a token of a causal prompt of `context` tokens meets on average: (S + 1) / 2 without a window. */
export function meanKeysMet(attention: AttentionShape, context: number): number {
  const chunk = chunkOf(attention)
  if (chunk) {
    const [whole, rest] = [Math.floor(context / chunk), context % chunk]
    return (whole * chunk * (chunk + 1) + rest * (rest + 1)) / 2 / context
  }
  const W = keysMet(attention, context)
  return ((W * (W + 1)) / 2 + (context - W) * W) / context
}
