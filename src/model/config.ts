/** How a router turns its logits [T, E] into K chosen experts and their weights. */
export interface RouterConfig {
  /** E */
  numExperts: number
  /** K */
  topK: number
  /** What the logits become before experts are compared: `none` compares the logits themselves. */
  scoring: 'softmax' | 'sigmoid' | 'none'
  /** Weights of the chosen: their scores as they are, divided by their sum, or a softmax over the chosen logits. */
  weighting: 'scores' | 'normalized' | 'softmax-of-chosen'
  /** Added to the divisor of `normalized` (DeepSeek-V3: 1e-20). */
  normEpsilon: number
  /** Multiplies every weight at the end (`routed_scaling_factor`). */
  scalingFactor: number
  /** DeepSeek's group limit: only the best `keep` of `groups` groups of consecutive experts may be chosen from. */
  groupLimit: { groups: number; keep: number; score: 'max' | 'sum-of-top-2' } | null
  /** The layer stores a bias [E] that counts when choosing only (DeepSeek-V3). */
  scoreBias?: boolean
}

/** One SwiGLU: `down(silu(gate(x)) * up(x))`. */
export interface DenseConfig {
  kind: 'dense'
  /** H */
  intermediateSize: number
  bias: boolean
}

/** E SwiGLU experts behind a router. */
export interface MoeConfig {
  kind: 'moe'
  /** H of one expert */
  intermediateSize: number
  router: RouterConfig
  /** A SwiGLU that every token passes through beside its K experts. */
  sharedExpert?: { intermediateSize: number }
}

export interface AttentionConfig {
  /** Nq */
  numHeads: number
  /** Nk; query head h reads key-value head floor(h / (Nq / Nk)). */
  numKeyValueHeads: number
  /** d */
  headDim: number
  /** Of queries, keys, values and, unless `outputBias` is false, the output. */
  bias: boolean
  outputBias?: boolean
  /** RMSNorm of each query and key head, before rotating. */
  qkNorm?: boolean
  /** A query sees this many keys, itself included; null sees all. */
  slidingWindow: number | null
}

export type RopeScaling =
  | { type: 'default' }
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3'
      factor: number
      lowFreqFactor: number
      highFreqFactor: number
      originalMaxPositionEmbeddings: number
    }

export interface RopeConfig {
  theta: number
  scaling: RopeScaling
  /** Channels of a head that rotate, from the first; all when left out. */
  rotaryDim?: number
}

/** A decoder, whatever family it was published as. Families map their config.json to this; the model reads only this. */
export interface ModelConfig {
  family: string
  /** V */
  vocabSize: number
  /** D */
  hiddenSize: number
  maxPositionEmbeddings: number
  normEps: number
  /** The unembedding is the embedding matrix; the file then has no tensor for it. */
  tieWordEmbeddings: boolean
  attention: AttentionConfig
  rope: RopeConfig
  /** The feed-forward half of each layer, first to last. */
  layers: (DenseConfig | MoeConfig)[]
  bosTokenId: number | null
  eosTokenIds: number[]
}

/** Mixtral's router: softmax over all E, best K, divided by their sum. */
export function softmaxTopK(numExperts: number, topK: number): RouterConfig {
  return {
    numExperts,
    topK,
    scoring: 'softmax',
    weighting: 'normalized',
    normEpsilon: 0,
    scalingFactor: 1,
    groupLimit: null,
  }
}
