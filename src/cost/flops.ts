import type { ModelConfig } from '../model/config.ts'
import type { DispatchName } from '../model/dispatch/index.ts'
import type { Dims } from '../model/shapes.ts'
import { type ArchitectureSpec, type AttentionSpec, architectureOf } from './architecture.ts'
import { attentionMatrices, expertParameters, sharedParameters } from './parameters.ts'

/*
 * FLOPs of the matrix products, a multiply-add counted as 2. Left out, here and in what `countMatmulFlops` counts: norms,
 * rotary embedding, softmax, top-k, SiLU, gather and scatter, residual sums. They are few FLOPs but not little time.
 */

/** FLOPs by part. */
export interface FlopParts {
  /** Queries, keys, values and output. */
  attentionProjections: number
  /** Scores q k and mix p v over every key, masked or not: nothing skips the half that causality hides. */
  attentionScores: number
  router: number
  /** Routed experts, or the one feed-forward of a layer without. */
  experts: number
  sharedExperts: number
  unembedding: number
}

/** One mixture layer on T tokens: its router, and the experts on as many rows as the dispatch gives them. */
export function moeLayerFlops(dims: Omit<Dims, 'V'>, dispatch: DispatchName): number {
  return routerFlops(dims) + expertRows(dims, dispatch) * expertFlops(dims)
}

/** Token rows that experts run on: `dense` T E, `sparse` and `gather` T K. */
export function expertRows({ T, E, K }: Pick<Dims, 'T' | 'E' | 'K'>, dispatch: DispatchName): number {
  return T * (dispatch === 'dense' ? E : K)
}

export interface ForwardShape {
  /** T: new tokens of the call, all sequences together. */
  tokens: number
  /** S: keys that a query meets on average, its own call's included; for a prompt from an empty cache `meanColumnsMet`. */
  context: number
  /** Rows that get logits: T, or one a sequence when only the last are asked for. */
  logitRows: number
  dispatch: DispatchName
}

/** A whole forward by part. */
export function forwardFlops(config: ModelConfig, shape: ForwardShape): FlopParts {
  return architectureFlops(architectureOf(config), { ...shape, keys: () => shape.context, absorbed: false })
}

/** One token that meets `context` keys, itself included, and gets logits. */
export function flopsPerToken(config: ModelConfig, context: number, dispatch: DispatchName): FlopParts {
  return forwardFlops(config, { tokens: 1, context, logitRows: 1, dispatch })
}

export interface ArchitectureShape extends Omit<ForwardShape, 'context'> {
  /** Keys that a query meets on average in such a layer. */
  keys(attention: AttentionSpec): number
  /**
   * Latent attention compares with the compressed vectors of the cache, as decoding does, instead of expanding them
   * to keys and values, as prefill does (arXiv 2405.04434, section 2.1.2). The projections cost the same.
   */
  absorbed: boolean
}

/** As `forwardFlops`, for any architecture. */
export function architectureFlops(spec: ArchitectureSpec, shape: ArchitectureShape): FlopParts {
  const { hiddenSize: D, vocabSize: V, layers } = spec
  const { tokens: T, logitRows, dispatch } = shape
  const parts: FlopParts = {
    attentionProjections: 0,
    attentionScores: 0,
    router: 0,
    experts: 0,
    sharedExperts: 0,
    unembedding: 2 * logitRows * D * V,
  }
  for (const { attention, feedForward } of layers) {
    parts.attentionProjections += 2 * T * attentionMatrices(attention, D)
    parts.attentionScores += T * scoreFlops(attention, shape.keys(attention), shape.absorbed)
    if (attention.kind === 'mixture') parts.router += routerFlops({ T, D, E: attention.numExperts })
    if (feedForward.kind === 'dense') {
      parts.experts += T * expertFlops({ D, H: feedForward.width })
      continue
    }
    const { numExperts: E, topK: K, width: H } = feedForward
    parts.router += routerFlops({ T, D, E })
    parts.experts += expertRows({ T, E, K }, dispatch) * expertFlops({ D, H })
    parts.sharedExperts += 2 * T * sharedParameters(feedForward, D)
  }
  return parts
}

/** One query against `keys` keys, all heads. Linear attention updates and reads its state, whatever the context. */
function scoreFlops(attention: AttentionSpec, keys: number, absorbed: boolean): number {
  switch (attention.kind) {
    case 'grouped':
      return 2 * 2 * keys * attention.numHeads * attention.headDim
    case 'mixture':
      return 2 * 2 * keys * attention.topK * attention.numKeyValueHeads * attention.headDim
    case 'linear':
      return 2 * 2 * attention.numHeads * attention.headDim ** 2
    case 'latent': {
      const { numHeads, keyValueRank, nopeDim, ropeDim, valueDim } = attention
      const width = absorbed ? 2 * keyValueRank + ropeDim : nopeDim + ropeDim + valueDim
      return 2 * keys * numHeads * width
    }
  }
}

export function totalFlops(parts: FlopParts): number {
  return Object.values(parts).reduce((a, b) => a + b, 0)
}

/** Every part times `factor`. */
export function scaled(parts: FlopParts, factor: number): FlopParts {
  const entries = Object.entries(parts).map(([part, flops]) => [part, factor * flops])
  return Object.fromEntries(entries) as unknown as FlopParts
}

/** One row through gate, up and down. */
function expertFlops({ D, H }: Pick<Dims, 'D' | 'H'>): number {
  return 2 * expertParameters(D, H)
}

function routerFlops({ T, D, E }: Pick<Dims, 'T' | 'D' | 'E'>): number {
  return 2 * T * D * E
}
