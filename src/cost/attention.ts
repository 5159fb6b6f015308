import type { AttentionShape } from '../model/config.ts'

/** What one layer's attention of a kind costs beside its weights, which src/model/attention/tensors.ts has. */
export interface AttentionCost<Shape> {
  /** Numbers that one token leaves in the cache: keys and values, or what stands for them. */
  cached(attention: Shape): number
  /** Numbers that a sequence keeps whatever its context. */
  state(attention: Shape): number
  /**
   * FLOPs of one query against `keys` keys, all heads. `absorbed`: latent attention compares with the compressed vectors of
   * the cache, as decoding does, instead of expanding them to keys and values, as prefill does (arXiv 2405.04434, section
   * 2.1.2); the projections cost the same.
   */
  scores(attention: Shape, keys: number, absorbed: boolean): number
}

const none = () => 0

/** Every kind that can be counted; src/model/attention has those that run. */
export const ATTENTION_COST: {
  [Kind in AttentionShape['kind']]: AttentionCost<Extract<AttentionShape, { kind: Kind }>>
} = {
  grouped: {
    cached: ({ numKeyValueHeads, headDim }) => 2 * numKeyValueHeads * headDim,
    state: none,
    scores: ({ numHeads, headDim }, keys) => 2 * 2 * keys * numHeads * headDim,
  },
  latent: {
    cached: ({ keyValueRank, ropeDim }) => keyValueRank + ropeDim,
    state: none,
    scores: ({ numHeads, keyValueRank, nopeDim, ropeDim, valueDim }, keys, absorbed) =>
      2 * keys * numHeads * (absorbed ? 2 * keyValueRank + ropeDim : nopeDim + ropeDim + valueDim),
  },
  mixture: {
    cached: ({ headsPerExpert, headDim }) => 2 * headsPerExpert * headDim,
    state: none,
    scores: ({ topK, headsPerExpert, headDim }, keys) => 2 * 2 * keys * topK * headsPerExpert * headDim,
  },
  /** Updates and reads its state, whatever the context. */
  linear: {
    cached: none,
    state: ({ numHeads, headDim }) => numHeads * headDim ** 2,
    scores: ({ numHeads, headDim }) => 2 * 2 * numHeads * headDim ** 2,
  },
}

export function attentionCost({ kind }: AttentionShape): AttentionCost<AttentionShape> {
  return ATTENTION_COST[kind] as AttentionCost<AttentionShape>
}

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
