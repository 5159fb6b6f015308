import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../../backend/fused.ts'
import { joinRows, splitRows } from '../../backend/row-groups.ts'
import type { TensorflowOps } from '../../backend/tensorflow-ops.ts'
import type { Clamp } from '../config.ts'
import { applyExpert, expertColumns } from '../experts.ts'
import type { Routing, RoutingTensors } from '../router/types.ts'
import type { ExpertWeights } from '../weights.ts'
import { combine } from './combine.ts'

/** Tokens sorted into one piece an expert. */
export interface Grouped {
  /** [tokens of expert, D] each; rows of a token stand in the piece of each of its experts. */
  pieces: tf.Tensor2D[]
  /** The expert of each piece. */
  experts: number[]
  /** [T K] where each assignment's output stands when the pieces' outputs are joined. */
  place: tf.Tensor1D
  /** [pieces] int32, how many rows each has, where that stays on the device. */
  sizes?: tf.Tensor1D
  /** Some assignments were dropped: their place is one past the end. */
  dropped: boolean
}

/**
 * Tokens grouped by expert, only routed rows computed, in ops that every backend has. The grouping is done on the
 * host, so an expert without tokens costs nothing, and dropped assignments are never computed. `weights` [T, K] are the
 * decision's own, or differentiable ones.
 */
export function dispatchSparse(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  routing: Routing,
  weights: tf.Tensor2D,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const grouped = group(x, routing)
    if (grouped.pieces.length === 0) return tf.zerosLike(x)
    const outputs = grouped.pieces.map((rows, i) => applyExpert(rows, experts[grouped.experts[i]], clamp))
    return combineGrouped(outputs, grouped, weights)
  })
}

/** The same on the device without a read-back: group sizes stay a tensor, so every expert runs, some on no rows. */
export function dispatchSparseTensorflow(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  routing: RoutingTensors,
  ops: TensorflowOps,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const grouped = groupTensorflow(x, experts.length, routing, ops)
    const columns = grouped.pieces.map((rows, e) => expertColumns(rows, experts[e], ops, clamp))
    const inputs = [...columns, grouped.place, routing.expertWeights]
    return fused('combine', inputs, { experts: experts.length }, () => {
      const outputs = columns.map((made) => tf.transpose(made) as tf.Tensor2D)
      return combineGrouped(outputs, grouped, routing.expertWeights)
    })
  })
}

/** The same in steps that have gradients. `expertWeights` may have one, and indices have none. */
export function dispatchSparseTrainable(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  routing: RoutingTensors,
  ops: TensorflowOps,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const grouped = groupTensorflow(x, experts.length, routing, ops)
    const outputs = grouped.pieces.map((rows, e) => applyExpert(rows, experts[e], clamp))
    return combineGrouped(outputs, grouped, routing.expertWeights)
  })
}

/** First part: sorts the assignments by expert and cuts out their rows. No piece is empty. */
export function group(x: tf.Tensor2D, routing: Routing): Grouped {
  return tf.tidy(() => {
    const K = routing.expertIndices.length / x.shape[0]
    const { order, inverse } = groupByExpert(routing)
    const used = [...routing.tokensPerExpert.keys()].filter((e) => routing.tokensPerExpert[e] > 0)
    const place = tf.tensor1d(inverse, 'int32')
    const dropped = order.length < inverse.length
    if (order.length === 0) return { pieces: [], experts: [], place, dropped }
    const tokens = tf.tensor1d(
      order.map((assignment) => Math.floor(assignment / K)),
      'int32',
    )
    const sizes = used.map((e) => routing.tokensPerExpert[e])
    return { pieces: tf.split<tf.Tensor2D>(tf.gather(x, tokens), sizes, 0), experts: used, place, dropped }
  })
}

/** The same on the device: one piece an expert, some of them empty. */
export function groupTensorflow(
  x: tf.Tensor2D,
  numExperts: number,
  { expertIndices }: RoutingTensors,
  ops: TensorflowOps,
): Grouped {
  return tf.tidy(() => {
    const [T, K] = expertIndices.shape
    // In float32, exact below 2^24: TensorFlow computes with int32 in the host's memory, for which a card would have to wait.
    const expertOf = tf.reshape(tf.cast(expertIndices, 'float32'), [T * K]) as tf.Tensor1D
    const order = argsort(expertOf)
    const place = tf.cast(order, 'float32')
    const rows = tf.gather(x, tf.cast(tf.floorDiv(place, K), 'int32')) as tf.Tensor2D
    const sizes = ops.bincount(tf.cast(expertOf, 'int32'), numExperts) // the one thing that a card is waited for
    const pieces = splitRows(rows, sizes, numExperts)
    return { pieces, experts: [...pieces.keys()], place: argsort(place), sizes, dropped: false }
  })
}

/** Last part: the pieces' outputs back in the order of tokens, weighted by [T, K] and summed: [T, D]. */
export function combineGrouped(
  outputs: tf.Tensor2D[],
  { place, sizes, dropped }: Grouped,
  weights: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy(() => {
    // What dropped assignments read.
    const none = dropped ? [tf.zeros<tf.Rank.R2>([1, outputs[0].shape[1]])] : []
    const joined = sizes ? joinRows(outputs, sizes) : tf.concat([...outputs, ...none], 0)
    return combine(tf.gather(joined, place), weights) // of [T K, D]
  })
}

/** Assignments sorted by expert (stable), and where each assignment then stands; past the end if dropped. Counting sort. */
function groupByExpert({ expertIndices, tokensPerExpert }: Routing): {
  order: Int32Array
  inverse: Int32Array
} {
  const next = new Int32Array(tokensPerExpert.length)
  for (let e = 1; e < next.length; e++) next[e] = next[e - 1] + tokensPerExpert[e - 1]
  const order = new Int32Array(tokensPerExpert.reduce((a, b) => a + b, 0))
  const inverse = new Int32Array(expertIndices.length).fill(order.length)
  expertIndices.forEach((e, assignment) => {
    if (e < 0) return
    inverse[assignment] = next[e]
    order[next[e]++] = assignment
  })
  return { order, inverse }
}

/** Indices that sort ascending; TensorFlow's top-k puts equal keys in index order, which makes this stable. */
function argsort(keys: tf.Tensor1D): tf.Tensor1D {
  return tf.topk(tf.neg(keys), keys.shape[0]).indices
}
