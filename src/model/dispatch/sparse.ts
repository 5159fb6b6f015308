import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../../backend/fused.ts'
import { LIMITS } from '../../backend/limits.ts'
import { joinRows, splitRows } from '../../backend/row-groups.ts'
import type { TensorflowOps } from '../../backend/tensorflow-ops.ts'
import type { Clamp } from '../config.ts'
import { applyExpert, expertColumns } from '../experts.ts'
import type { Routing, RoutingTensors } from '../router/types.ts'
import type { Experts, ExpertWeights } from '../weights.ts'
import { combine } from './combine.ts'

/** Tokens sorted into one piece an expert. */
export interface Grouped {
  /** [tokens of expert, D] each; rows of a token stand in the piece of each of its experts. */
  pieces: tf.Tensor2D[]
  /** The expert of each piece. */
  experts: number[]
  /** [T K] where each assignment's output stands when the pieces' outputs are joined. */
  place: tf.Tensor1D
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
  experts: Experts,
  routing: Routing,
  weights: tf.Tensor2D,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const grouped = group(x, routing)
    if (grouped.pieces.length === 0) return tf.zerosLike(x)
    const outputs = grouped.pieces.map((rows, i) => applyExpert(rows, experts.at(grouped.experts[i])!, clamp))
    return combineGrouped(outputs, grouped, weights)
  })
}

/** The same on the device without a read-back: group sizes stay a tensor, so every expert runs, some on no rows. */
export function dispatchSparseTensorflow(
  x: tf.Tensor2D,
  experts: Experts,
  routing: RoutingTensors,
  ops: TensorflowOps,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const grouped = groupTensorflow(x, experts.length, routing, ops)
    const columns = grouped.pieces.map((rows, e) => expertColumns(rows, experts.at(e)!, ops, clamp))
    const inputs = [...columns, grouped.place, routing.expertWeights]
    return fused('combine', inputs, { experts: experts.length }, () => {
      const outputs = columns.map((made) => tf.transpose(made) as tf.Tensor2D)
      return combineGrouped(outputs, grouped, routing.expertWeights)
    })
  })
}

/**
 * The same in steps that have gradients; indices have none. Pieces are filled up with rows of zeros to multiples of a number of rows:
 * oneDNN makes code for each shape that it meets.
 */
export function dispatchSparseTrainable(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  { expertIndices, expertWeights }: RoutingTensors,
  ops: TensorflowOps,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const { sizes, place, tokens } = filledGroups(expertIndices, experts.length, ops)
    const rows = tf.gather(tf.concat([tf.zeros<tf.Rank.R2>([1, x.shape[1]]), x], 0), tokens) as tf.Tensor2D
    const pieces = splitRows(rows, sizes, experts.length + 1)
    const outputs = pieces.map((piece, e) =>
      e < experts.length ? applyExpert(piece, experts[e], clamp) : piece,
    )
    return combine(tf.gather(joinRows(outputs, sizes), place) as tf.Tensor2D, expertWeights)
  })
}

/** Groups of assignments in `trainedGroups` rows or a multiple, and as a last group what is left of the most that this could take. */
function filledGroups(
  expertIndices: tf.Tensor2D,
  numExperts: number,
  ops: TensorflowOps,
): {
  /** [E + 1] int32, rows of each group. */
  sizes: tf.Tensor1D
  /** [T K] int32, the row of each assignment. */
  place: tf.Tensor1D
  /** int32, the token of each row, counted from 1; 0 where there is none. */
  tokens: tf.Tensor1D
} {
  const unit = LIMITS.trainedGroups
  const [T, K] = expertIndices.shape
  const all = T * K + numExperts * unit
  const flat = tf.reshape(expertIndices, [T * K]) as tf.Tensor1D
  const counts = tf.cast(ops.bincount(flat, numExperts), 'float32')
  const filled = tf.mul(tf.ceil(tf.div(counts, unit)), unit)
  const moved = tf.sub(tf.cumsum(filled, 0, true), tf.cumsum(counts, 0, true)) // [E]
  const order = argsort(tf.cast(flat, 'float32'))
  const sorted = argsort(tf.cast(order, 'float32')) // where each assignment stands among those sorted by expert
  const place = tf.cast(tf.add(tf.cast(sorted, 'float32'), tf.gather(moved, flat)), 'int32') as tf.Tensor1D
  const ofAssignments = Int32Array.from({ length: T * K }, (_, i) => 1 + Math.floor(i / K))
  const tokens = tf.scatterND(tf.expandDims(place, 1), tf.tensor1d(ofAssignments, 'int32'), [all])
  const rest = tf.reshape(tf.sub(all, tf.sum(filled)), [1])
  return {
    sizes: tf.cast(tf.concat([filled, rest]), 'int32') as tf.Tensor1D,
    place,
    tokens: tokens as tf.Tensor1D,
  }
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
    return { pieces, experts: [...pieces.keys()], place: argsort(place), dropped: false }
  })
}

/** Last part: the pieces' outputs back in the order of tokens, weighted by [T, K] and summed: [T, D]. */
export function combineGrouped(
  outputs: tf.Tensor2D[],
  { place, dropped }: Grouped,
  weights: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy(() => {
    // What dropped assignments read.
    const none = dropped ? [tf.zeros<tf.Rank.R2>([1, outputs[0].shape[1]])] : []
    return combine(tf.gather(tf.concat([...outputs, ...none], 0), place), weights) // of [T K, D]
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
