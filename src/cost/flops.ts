import type { ModelConfig } from '../model/config.ts'
import type { DispatchName } from '../model/dispatch/index.ts'
import type { Dims } from '../model/shapes.ts'

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
  /** S: keys each query meets, its own call's included; for a prompt from an empty cache its length. */
  context: number
  /** Rows that get logits: T, or one a sequence when only the last are asked for. */
  logitRows: number
  dispatch: DispatchName
}

/** A whole forward by part. */
export function forwardFlops(
  config: ModelConfig,
  { tokens: T, context: S, logitRows, dispatch }: ForwardShape,
): FlopParts {
  const { hiddenSize: D, vocabSize: V, attention, layers } = config
  const { numHeads, numKeyValueHeads, headDim } = attention
  const parts: FlopParts = {
    attentionProjections: layers.length * 2 * T * D * (2 * numHeads + 2 * numKeyValueHeads) * headDim,
    attentionScores: layers.length * 2 * 2 * T * S * numHeads * headDim,
    router: 0,
    experts: 0,
    sharedExperts: 0,
    unembedding: 2 * logitRows * D * V,
  }
  for (const layer of layers) {
    const H = layer.intermediateSize
    if (layer.kind === 'dense') {
      parts.experts += T * expertFlops({ D, H })
      continue
    }
    const { numExperts: E, topK: K } = layer.router
    parts.router += routerFlops({ T, D, E })
    parts.experts += expertRows({ T, E, K }, dispatch) * expertFlops({ D, H })
    parts.sharedExperts += T * expertFlops({ D, H: layer.sharedExpert?.intermediateSize ?? 0 })
  }
  return parts
}

/** One token that meets `context` keys, itself included, and gets logits. */
export function flopsPerToken(config: ModelConfig, context: number, dispatch: DispatchName): FlopParts {
  return forwardFlops(config, { tokens: 1, context, logitRows: 1, dispatch })
}

export function totalFlops(parts: FlopParts): number {
  return Object.values(parts).reduce((a, b) => a + b, 0)
}

/** One row through gate, up and down: three products of D x H. */
function expertFlops({ D, H }: Pick<Dims, 'D' | 'H'>): number {
  return 2 * 3 * D * H
}

function routerFlops({ T, D, E }: Pick<Dims, 'T' | 'D' | 'E'>): number {
  return 2 * T * D * E
}
