import type { AttentionShape, ModelShape } from '../model/config.ts'
import type { DispatchName } from '../model/dispatch/index.ts'
import type { Dims } from '../model/shapes.ts'
import { attentionCost } from './attention.ts'
import { expertParameters, sharedParameters } from './parameters.ts'

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
  /**
   * S: keys that a query meets on average, its own call's included, by layer or in all alike; for a prompt from an empty cache
   * `meanColumnsMet`.
   */
  context: number | ((attention: AttentionShape) => number)
  /** Rows that get logits: T, or one a sequence when only the last are asked for. */
  logitRows: number
  dispatch: DispatchName
  /** As `AttentionCost.scores` says; default false. */
  absorbed?: boolean
}

/** One token that meets `context` keys, itself included, and gets logits. */
export function flopsPerToken(model: ModelShape, context: number, dispatch: DispatchName): FlopParts {
  return forwardFlops(model, { tokens: 1, context, logitRows: 1, dispatch })
}

/** A whole forward by part. */
export function forwardFlops(model: ModelShape, shape: ForwardShape): FlopParts {
  const { hiddenSize: D, vocabSize: V, layers } = model
  const { tokens: T, context, logitRows, dispatch, absorbed = false } = shape
  const keysOf = typeof context === 'number' ? () => context : context
  const parts: FlopParts = {
    attentionProjections: 0,
    attentionScores: 0,
    router: 0,
    experts: 0,
    sharedExperts: 0,
    unembedding: 2 * logitRows * D * V,
  }
  for (const { attention, feedForward } of layers) {
    const cost = attentionCost(attention)
    parts.attentionProjections += 2 * T * cost.matrices(attention, D)
    parts.attentionScores += T * cost.scores(attention, keysOf(attention), absorbed)
    if (attention.kind === 'mixture') parts.router += routerFlops({ T, D, E: attention.numExperts })
    if (feedForward.kind === 'dense') {
      parts.experts += T * expertFlops({ D, H: feedForward.intermediateSize })
      continue
    }
    const { numExperts: E, topK: K } = feedForward.router
    const H = feedForward.intermediateSize
    parts.router += routerFlops({ T, D, E })
    parts.experts += expertRows({ T, E, K }, dispatch) * expertFlops({ D, H })
    parts.sharedExperts += 2 * T * sharedParameters(feedForward, D)
  }
  return parts
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
