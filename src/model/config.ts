/*
 * One description of a decoder, whatever family it was published as. Families map their config.json to it; the model, the
 * graphs and the cost model read only this. A `...Shape` is what parameters, FLOPs and bytes follow from; what also says how
 * to compute extends it. Kinds that only have a shape can be counted, and not be run yet.
 */

/** How many experts there are, and how many are chosen. */
export interface RouterShape {
  /** E */
  numExperts: number
  /** K */
  topK: number
  /** The logits have a bias [E] (gpt-oss). */
  bias?: boolean
  /** The layer stores a bias [E] that counts when choosing only (DeepSeek-V3). */
  scoreBias?: boolean
}

export const SCORINGS = ['softmax', 'sigmoid', 'none'] as const
export const WEIGHTINGS = [
  'scores',
  'normalized',
  'softmax-of-chosen',
  'sigmoid-of-chosen',
  'sparsemixer',
] as const
export const GROUP_SCORES = ['max', 'sum-of-top-2'] as const

/** How a router turns its logits [T, E] into K chosen experts and their weights. */
export interface RouterConfig extends RouterShape {
  /** What the logits become before experts are compared: `none` compares the logits themselves. */
  scoring: (typeof SCORINGS)[number]
  /**
   * Weights of the chosen: their scores as they are, divided by their norm, a softmax over the chosen logits, a sigmoid of each,
   * or sparsemixer's (Liu et al. 2024, arXiv 2409.12136): a share among those near the best of who was not chosen before.
   */
  weighting: (typeof WEIGHTINGS)[number]
  /** Added to the divisor of `normalized` (DeepSeek-V3: 1e-20). */
  normEpsilon: number
  /** Order of the norm that `normalized` divides by; default 1, the sum (DBRX). */
  normOrder?: number
  /** sparsemixer: who is further than twice this share below the best is not near (`router_jitter_noise`). */
  jitter?: number
  /** Weights multiply what experts are given, not what they give (Llama 4). */
  weighsInput?: true
  /** Multiplies every weight at the end (`routed_scaling_factor`). */
  scalingFactor: number
  /** DeepSeek's group limit: only the best `keep` of `groups` groups of consecutive experts may be chosen from. */
  groupLimit: { groups: number; keep: number; score: (typeof GROUP_SCORES)[number] } | null
}

/** gpt-oss: gate at most, and up within plus and minus `limit`; `gate * sigmoid(alpha * gate) * (up + 1)`. */
export interface Clamp {
  limit: number
  alpha: number
}

/** One SwiGLU: `down(silu(gate(x)) * up(x))`. */
export interface DenseConfig {
  kind: 'dense'
  /** H */
  intermediateSize: number
  bias: boolean
}

/** E SwiGLU experts behind a router. */
export interface MoeShape {
  kind: 'moe'
  /** H of one expert */
  intermediateSize: number
  router: RouterShape
  /** A SwiGLU that every token passes through beside its K experts; with `gate` times the sigmoid of a number a token, from a [D, 1]. */
  sharedExpert?: { intermediateSize: number; gate?: boolean; bias?: boolean }
  /** Experts have biases [2H] and [D] (gpt-oss). */
  expertBias?: boolean
  /** The experts' sum has a bias [D] (JetMoE). */
  outputBias?: boolean
}

export interface MoeConfig extends MoeShape {
  router: RouterConfig
  /** What stands between an expert's matrices in the place of `silu(gate) * up`. */
  clamp?: Clamp
  outputBias?: never
}

export type FeedForwardShape = DenseConfig | MoeShape
export type FeedForwardConfig = DenseConfig | MoeConfig

/** Grouped-query attention (Ainslie et al. 2023): Nq query heads share Nk key-value heads of width d. */
export interface GroupedShape {
  kind: 'grouped'
  /** Nq */
  numHeads: number
  /** Nk; query head h reads key-value head floor(h / (Nq / Nk)). */
  numKeyValueHeads: number
  /** d */
  headDim: number
  /** Of queries, keys, values and, unless `outputBias` is false, the output. */
  bias: boolean
  outputBias?: boolean
  /** RMSNorm of queries and keys before rotating: each head's alike, weights [d], or all heads' together. */
  qkNorm?: 'per-head' | 'across-heads'
  /** A learned logit a query head joins the softmax (gpt-oss). */
  sinks?: boolean
  /** A query sees this many keys, itself included; null sees all. */
  slidingWindow: number | null
  /** A query sees the keys of its own chunk of so many positions (Llama 4). */
  chunk?: number
}

export interface GroupedAttention extends GroupedShape {
  /** Null: queries and keys are not rotated. */
  rope: RopeConfig | null
  /** Multiplies the scores; default d^(-1/2). */
  scale?: number
  /** Queries, keys and values are cut to plus and minus this before rotating (DBRX). */
  clip?: number
  /** Queries and keys are divided by their root mean square after rotating, each head's alike, with this epsilon (Llama 4). */
  unitNorm?: number
  /** Queries at position p are multiplied by `1 + scale ln(1 + floor((p + 1) / every))` (Llama 4, layers without rotation). */
  temperature?: { every: number; scale: number }
}

/** Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): the cache holds one compressed vector. */
export interface LatentShape {
  kind: 'latent'
  numHeads: number
  /** Rank of the compressed query; null where queries are not compressed. */
  queryRank: number | null
  keyValueRank: number
  /** Widths of a head: without rotation, rotated, values. */
  nopeDim: number
  ropeDim: number
  valueDim: number
  /** Of the compressed query, of the compressed keys and values, and of the output. */
  bias?: boolean
}

export interface LatentAttention extends LatentShape {
  rope: RopeConfig
  /** Multiplies the scores. */
  scale: number
  /** Of the norms of both compressed vectors. */
  latentEps: number
}

/** Mixture of attention heads (JetMoE, arXiv 2404.07413): query and output matrices per expert, keys and values shared. */
export interface HeadMixtureShape {
  kind: 'mixture'
  numExperts: number
  topK: number
  /** Of queries in one expert, and of keys and values. */
  headsPerExpert: number
  headDim: number
}

/** Lightning attention (MiniMax-01, arXiv 2501.08313): a state [d, d] a head instead of keys, and a gated, normed output. */
export interface LinearShape {
  kind: 'linear'
  numHeads: number
  headDim: number
}

export type AttentionShape = GroupedShape | LatentShape | HeadMixtureShape | LinearShape
export type AttentionConfig = GroupedAttention | LatentAttention

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
  | {
      /** Peng et al. 2023, arXiv 2309.00071 */
      type: 'yarn'
      factor: number
      betaFast: number
      betaSlow: number
      /** Whether the bounds between stretched and kept channels are whole numbers. */
      truncate: boolean
      originalMaxPositionEmbeddings: number
      /** Latent attention's scores are multiplied by the square of yarn's magnitude at this weight. */
      mscaleAllDim?: number
    }
  /** Ding et al. 2024, arXiv 2402.13753: a divisor for each pair of channels. */
  | { type: 'longrope'; factors: number[] }

export interface RopeConfig {
  theta: number
  scaling: RopeScaling
  /** Channels of a head that rotate, from the first; all when left out. */
  rotaryDim?: number
  /** Pairs are neighbours (x_2i, x_2i+1), and not (x_i, x_i+n/2). */
  interleaved?: true
  /** Multiplies what is rotated (yarn's and longrope's attention factor); default 1. */
  magnitude?: number
}

export interface LayerShape {
  attention: AttentionShape
  feedForward: FeedForwardShape
}

/** Both halves of a layer. Layers that share a description's object share what a call makes of it. */
export interface LayerConfig extends LayerShape {
  attention: AttentionConfig
  feedForward: FeedForwardConfig
}

export interface ModelShape {
  /** V */
  vocabSize: number
  /** D */
  hiddenSize: number
  /** The unembedding is the embedding matrix; the file then has no tensor for it. */
  tieWordEmbeddings: boolean
  /** First to last. */
  layers: LayerShape[]
  /** The unembedding has a bias [V]. */
  unembeddingBias?: boolean
  /** Norms of a layer [D]: before each half, or also after (Grok-1); with a bias each. Default 2, none. */
  norms?: { perLayer: number; bias: boolean }
}

export interface ModelConfig extends ModelShape {
  family: string
  maxPositionEmbeddings: number
  normEps: number
  layers: LayerConfig[]
  /** There where all norms are LayerNorm, not RMSNorm. */
  norms?: { perLayer: 2; bias: boolean }
  /** Multiply the embedding, what each half of a layer adds, and the logits (Granite); default 1 each. */
  multipliers?: { embedding: number; residual: number; logits: number }
  bosTokenId: number | null
  eosTokenIds: number[]
}

/** The mixtures among layers' (or their weights') second halves, first to last. */
export function mixturesOf<F extends { kind: 'dense' | 'moe' }>(
  layers: readonly { feedForward: F }[],
): Extract<F, { kind: 'moe' }>[] {
  return layers.flatMap(({ feedForward }) =>
    feedForward.kind === 'moe' ? [feedForward as Extract<F, { kind: 'moe' }>] : [],
  )
}

/** The layers that have a mixture. */
export function mixtureLayers({ layers }: Pick<ModelConfig, 'layers'>): number[] {
  return [...layers.keys()].filter((layer) => layers[layer].feedForward.kind === 'moe')
}

/** Whether a router learns a bias for choosing. */
export function hasChoosingBias({ layers }: ModelShape): boolean {
  return mixturesOf(layers).some(({ router }) => router.scoreBias === true)
}

/** The mixture of a layer that is known to have one: a trace names it, or a router's weights are there. */
export function mixtureAt({ layers }: ModelConfig, layer: number): MoeConfig {
  const { feedForward } = layers[layer]
  if (feedForward.kind === 'dense') throw new Error(`layer ${layer} is dense, expected a mixture`)
  return feedForward
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

/** DeepSeek-V3's router: a sigmoid each, chosen with a bias, divided by their sum; without a group limit. */
export function sigmoidTopK(numExperts: number, topK: number): RouterConfig {
  const rest = softmaxTopK(numExperts, topK)
  return { ...rest, scoring: 'sigmoid', normEpsilon: 1e-20, scoreBias: true }
}
