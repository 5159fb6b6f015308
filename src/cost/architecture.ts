import type { ModelConfig } from '../model/config.ts'

/*
 * A decoder as the cost model sees it: only what decides how many weights there are, what a token does with them, and
 * what it leaves in the cache. Also covers published architectures that the engine does not run.
 */

/** Grouped-query attention: Nq query heads share Nk key-value heads of width d. */
export interface GroupedAttention {
  kind: 'grouped'
  numHeads: number
  numKeyValueHeads: number
  headDim: number
  /** Parameters beside the matrices: biases of projections, attention sinks. */
  biases: number
  /** Parameters of norms on queries and keys. */
  norms: number
  /** A query meets at most so many keys; null meets all. */
  window: number | null
}

/** Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): the cache holds one compressed vector. */
export interface LatentAttention {
  kind: 'latent'
  numHeads: number
  /** Rank of the compressed query; null where queries are not compressed. */
  queryRank: number | null
  keyValueRank: number
  /** Widths of a head: without rotation, rotated, values. */
  nopeDim: number
  ropeDim: number
  valueDim: number
}

/** Mixture of attention heads (JetMoE, arXiv 2404.07413): query and output matrices per expert, keys and values shared. */
export interface MixtureAttention {
  kind: 'mixture'
  numExperts: number
  topK: number
  /** Heads of one expert, as many as key-value heads. */
  numKeyValueHeads: number
  headDim: number
}

/** Lightning attention (MiniMax-01, arXiv 2501.08313): a state [d, d] a head instead of keys, and a gated, normed output. */
export interface LinearAttention {
  kind: 'linear'
  numHeads: number
  headDim: number
}

export type AttentionSpec = GroupedAttention | LatentAttention | MixtureAttention | LinearAttention

/** Gate, up and down: one SwiGLU of width H, and its biases. */
export interface DenseSpec {
  kind: 'dense'
  width: number
  biases: number
}

export interface MixtureSpec {
  kind: 'moe'
  /** E */
  numExperts: number
  /** K */
  topK: number
  /** H of one expert */
  width: number
  /** Parameters of the biases of one expert. */
  expertBiases: number
  /** Parameters of the router beside its matrix: a bias, or the choosing bias. */
  routerBiases: number
  /** Width of all shared experts together; 0 without. */
  sharedWidth: number
  /** The shared experts' output is scaled by a gate [D, 1] (Qwen2-MoE). */
  sharedGate: boolean
  /** Parameters that belong to the layer as a whole (JetMoE: a bias of the sum). */
  outputBiases: number
}

export interface LayerSpec {
  attention: AttentionSpec
  feedForward: DenseSpec | MixtureSpec
  /** Parameters of the norms before and after the two halves. */
  norms: number
}

export interface ArchitectureSpec {
  /** V */
  vocabSize: number
  /** D */
  hiddenSize: number
  /** The unembedding is the input table. */
  tied: boolean
  layers: LayerSpec[]
  /** Parameters of the norm before the unembedding. */
  finalNorm: number
}

/** A mixture without biases, gates or shared experts. */
export function plainMixture(numExperts: number, topK: number, width: number): MixtureSpec {
  return {
    kind: 'moe',
    numExperts,
    topK,
    width,
    expertBiases: 0,
    routerBiases: 0,
    sharedWidth: 0,
    sharedGate: false,
    outputBiases: 0,
  }
}

/** The engine's own models. */
export function architectureOf(config: ModelConfig): ArchitectureSpec {
  const { hiddenSize: D, attention } = config
  const { numHeads, numKeyValueHeads, headDim, slidingWindow } = attention
  const outputBias = attention.outputBias === false ? 0 : D
  const spec: GroupedAttention = {
    kind: 'grouped',
    numHeads,
    numKeyValueHeads,
    headDim,
    biases: attention.bias ? (numHeads + 2 * numKeyValueHeads) * headDim + outputBias : 0,
    norms: attention.qkNorm ? 2 * headDim : 0,
    window: slidingWindow,
  }
  return {
    vocabSize: config.vocabSize,
    hiddenSize: D,
    tied: config.tieWordEmbeddings,
    finalNorm: D,
    layers: config.layers.map((layer) => ({
      attention: spec,
      norms: 2 * D,
      feedForward: layer.kind === 'dense' ? denseOf(layer, D) : mixtureOf(layer),
    })),
  }
}

type Layer = ModelConfig['layers'][number]

function denseOf({ intermediateSize: H, bias }: Layer & { kind: 'dense' }, D: number): DenseSpec {
  return { kind: 'dense', width: H, biases: bias ? 2 * H + D : 0 }
}

function mixtureOf({ router, intermediateSize, sharedExpert }: Layer & { kind: 'moe' }): MixtureSpec {
  return {
    ...plainMixture(router.numExperts, router.topK, intermediateSize),
    routerBiases: router.scoreBias ? router.numExperts : 0,
    sharedWidth: sharedExpert?.intermediateSize ?? 0,
  }
}

/** The mixture layers, first to last. */
export function mixturesOf({ layers }: ArchitectureSpec): MixtureSpec[] {
  return layers.flatMap(({ feedForward }) => (feedForward.kind === 'moe' ? [feedForward] : []))
}

/** The same model with every expert of every mixture chosen (shape and total stay, all of it is active). */
export function everyExpert(spec: ArchitectureSpec): ArchitectureSpec {
  return {
    ...spec,
    layers: spec.layers.map((layer) => ({ ...layer, ...allChosen(layer) })),
  }
}

function allChosen({ attention, feedForward }: LayerSpec): Pick<LayerSpec, 'attention' | 'feedForward'> {
  return {
    attention: attention.kind === 'mixture' ? { ...attention, topK: attention.numExperts } : attention,
    feedForward: feedForward.kind === 'moe' ? { ...feedForward, topK: feedForward.numExperts } : feedForward,
  }
}
