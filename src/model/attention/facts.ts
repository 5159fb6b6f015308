import type { AttentionShape, LatentShape } from '../config.ts'
import type { Describer } from '../tensor-spec.ts'

/** What follows from the shape of a kind of attention alone, for the model and its cost. */
export interface AttentionFacts<Shape> {
  /** Its tensors, by their places in the layer's weights. */
  tensors(shape: Shape, D: number, names: Describer): object
  /** Numbers that one token leaves in the cache: keys and values, or what stands for them. */
  cached(shape: Shape): number
  /** Numbers that a sequence keeps whatever its context. */
  state(shape: Shape): number
  /**
   * FLOPs of one query against `keys` keys, all heads. `absorbed`: latent attention compares with the compressed vectors of
   * the cache, as decoding does, instead of expanding them to keys and values, as prefill does (arXiv 2405.04434, section
   * 2.1.2); the projections cost the same.
   */
  scores(shape: Shape, keys: number, absorbed: boolean): number
}

const none = () => 0

/** Every kind that can be counted; index.ts has those that run. */
export const ATTENTION_FACTS: {
  [Kind in AttentionShape['kind']]: AttentionFacts<Extract<AttentionShape, { kind: Kind }>>
} = {
  grouped: {
    tensors(shape, D, names) {
      const { numHeads, numKeyValueHeads, headDim, bias, outputBias = true, qkNorm, sinks } = shape
      const wide = numHeads * headDim
      const narrow = numKeyValueHeads * headDim
      const norm = (name: string, width: number) => names.norm(name, qkNorm === 'per-head' ? headDim : width)
      return {
        qkv: names.linear({ q: [wide, D], k: [narrow, D], v: [narrow, D] }, bias),
        output: names.linear({ o: [D, wide] }, bias && outputBias),
        qkNorm: qkNorm && { query: norm('qNorm', wide), key: norm('kNorm', narrow) },
        ...(sinks && { sinks: names.tensor('sinks', [numHeads]) }),
      }
    },
    cached: ({ numKeyValueHeads, headDim }) => 2 * numKeyValueHeads * headDim,
    state: none,
    scores: ({ numHeads, headDim }, keys) => 2 * 2 * keys * numHeads * headDim,
  },
  latent: {
    tensors({ numHeads, queryRank, keyValueRank, nopeDim, ropeDim, valueDim, bias }, D, names) {
      const wide = numHeads * (nopeDim + ropeDim)
      return {
        ...(queryRank !== null && {
          queryDown: names.linear({ qDown: [queryRank, D] }, bias),
          queryNorm: names.norm('qNorm', queryRank),
        }),
        query: names.linear(queryRank === null ? { q: [wide, D] } : { qUp: [wide, queryRank] }),
        keyValueDown: names.linear({ kvDown: [keyValueRank + ropeDim, D] }, bias),
        keyValueNorm: names.norm('kvNorm', keyValueRank),
        keyValue: names.joined({
          kUp: [numHeads * nopeDim, keyValueRank],
          vUp: [numHeads * valueDim, keyValueRank],
        }),
        output: names.linear({ o: [D, numHeads * valueDim] }, bias),
      }
    },
    cached: ({ keyValueRank, ropeDim }) => keyValueRank + ropeDim,
    state: none,
    scores: ({ numHeads, keyValueRank, nopeDim, ropeDim, valueDim }, keys, absorbed) =>
      2 * keys * numHeads * (absorbed ? 2 * keyValueRank + ropeDim : nopeDim + ropeDim + valueDim),
  },
  mixture: {
    tensors({ numExperts: E, topK: K, headsPerExpert, headDim }, D, names) {
      const width = headsPerExpert * headDim
      return {
        router: names.inside('moe', 'router').linear({ router: [E, D] }),
        keysValues: names.linear({ k: [width, D], v: [width, D] }),
        experts: names.experts(E, K, (expert) => ({
          query: expert.linear({ q: [width, D] }),
          output: expert.linear({ o: [D, width] }),
        })),
        bias: names.tensor('bias', [D]),
      }
    },
    cached: ({ headsPerExpert, headDim }) => 2 * headsPerExpert * headDim,
    state: none,
    scores: ({ topK, headsPerExpert, headDim }, keys) => 2 * 2 * keys * topK * headsPerExpert * headDim,
  },
  linear: {
    tensors({ numHeads, headDim }, D, names) {
      const width = numHeads * headDim
      return {
        inputs: names.linear({ q: [width, D], k: [width, D], v: [width, D], gate: [width, D] }),
        norm: names.norm('norm', width),
        output: names.linear({ o: [D, width] }),
      }
    },
    cached: none,
    state: ({ numHeads, headDim }) => numHeads * headDim ** 2,
    scores: ({ numHeads, headDim }) => 2 * 2 * numHeads * headDim ** 2, // updates and reads its state, whatever the context
  },
}

export function attentionFacts({ kind }: AttentionShape): AttentionFacts<AttentionShape> {
  return ATTENTION_FACTS[kind] as AttentionFacts<AttentionShape>
}

/**
 * Whether T queries of a call save more by expanding the compressed vectors of latent attention to keys and values than that
 * costs; both are paid for each key.
 */
export function expands({ keyValueRank: Rk, nopeDim, valueDim }: LatentShape, T: number): boolean {
  return T * (2 * Rk - nopeDim - valueDim) > Rk * (nopeDim + valueDim)
}
