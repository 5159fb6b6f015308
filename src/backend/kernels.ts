import type * as tf from '@tensorflow/tfjs-core'
import { LIMITS } from './limits.ts'

/** A kernel of src/native: many of TensorFlow's ops in one. */
export interface Kernel {
  /** What TensorFlow knows it by. */
  op: string
  /** Names and types of the attributes that it is called with. */
  attributes?: Readonly<Record<string, 'int' | 'float'>>
  /** Limits that it is told, by its names for them. */
  limits?: Readonly<Record<string, number>>
  /** Whether it multiplies with matrices of weights, however they are held, and in float32. */
  readsWeights?: boolean
}

export const limits = {
  rows_outside_panels: LIMITS.rowsOutsidePanels,
  rows_outside_tiles: LIMITS.rowsOutsideTiles,
}

/**
 * The fused kernels by what they compute, with the shapes of inputs and output. The definition of each is the steps that stand
 * where `fused` is called; tests/graph/fused.test.ts compares.
 */
export const FUSED = {
  /** x [..., D], weight [D] -> [..., D] */
  rmsNorm: { op: 'TinymoeRmsNorm', attributes: { eps: 'float' } },
  /** x [B, T, N, d], cos and sin [B or 1, T, N, d] -> [B, T, N, d]; the first `rotary` channels of each head turn. */
  rope: { op: 'TinymoeRope', attributes: { rotary: 'int' } },
  /** queries [B, T, N, d], keys and values [B, Nk, S, d], mask [B or 1, 1, G T or 1, S] -> [B, T, N, width]: of values the first channels */
  attention: { op: 'TinymoeAttention', attributes: { width: 'int' } },
  /** One expert for all rows: x [T, D], gateUp [2H, D], down [D, H] -> [T, D] */
  expert: { op: 'TinymoeExpert', limits, readsWeights: true },
  /** The chosen ones, weighted and added up: x [T, D], gateUp [E, 2H, D], down [E, D, H], indices and weights [T, K] -> [T, D] */
  experts: { op: 'TinymoeExperts', limits, readsWeights: true },
  /**
   * The same of few rows, with biases and bounds: x [T, D], gateUp [E, 2H, D], its bias [E, 2H], down [E, D, H], its bias [E, D], indices
   * and weights [T, K] -> [T, D]
   */
  clampedExperts: {
    op: 'TinymoeClampedExperts',
    attributes: { limit: 'float', alpha: 'float' },
    readsWeights: true,
  },
  /** Gate above up [2H, n] -> silu(gate) * up [H, n] */
  gated: { op: 'TinymoeGated' },
  /** Experts' outputs [D, n] each, where the T K assignments stand among them, weights [T, K] -> the sums of tokens [T, D] */
  combine: { op: 'TinymoeCombine', attributes: { experts: 'int' } },
} as const satisfies Record<string, Kernel>

/**
 * The kernel for one matrix by another, left [m, k], right [k, n] or `transposed` [n, k] -> [m, n], where either side has few rows, or
 * weights are multiplied as they are held: graphs have it in the place of TensorFlow's op, without being told.
 */
export const PRODUCT = 'TinymoeProduct'

/**
 * Kernels of neighbours in a graph of few rows (src/graph/joins.ts). From a projection of queries, keys and values [B T, (N + 2 Nk) d],
 * a cache [2, B, Nk, S, d], slots in it, mask and rotary tables -> what the queries make of the cache [B T, N d].
 */
export const CACHED_ATTENTION = 'TinymoeCachedAttention'
/** Logits [T, E] -> expertWeights and expertIndices [T, K]. */
export const ROUTE = 'TinymoeRoute'

export type FusedName = keyof typeof FUSED

/** Those for which a card, which has no kernels of ours, gets fewer of TensorFlow's ops than the steps are. */
export const CARD_FORMS: readonly FusedName[] = ['rmsNorm', 'rope', 'expert', 'experts', 'gated']

/** One kernel and what it is given. */
export interface FusedCall {
  name: FusedName
  inputs: tf.Tensor[]
  attributes: Readonly<Record<string, number>>
}
