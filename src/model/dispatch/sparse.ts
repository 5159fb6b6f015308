import * as tf from '@tensorflow/tfjs-core'
import type { TensorflowOps } from '../../runtime/tensorflow-ops.ts'
import { applyExpert, applyExpertTensorflow } from '../experts.ts'
import type { Routing } from '../router.ts'
import { type RoutingTensors, routingToTensors } from '../router-tensors.ts'
import type { ExpertWeights } from '../weights.ts'
import { combine } from './combine.ts'

/**
 * Tokens grouped by expert, only routed rows computed, in ops that every backend has. The grouping is done on the
 * host, so an expert without tokens costs nothing, and dropped assignments are never computed. `weights` [T, K] stand in
 * for the routing's own where a gradient has to reach the router.
 */
export function dispatchSparse(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  routing: Routing,
  weights?: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy(() => {
    const [T, D] = x.shape
    const K = routing.expertIndices.length / T
    const { order, inverse } = groupByExpert(routing)
    if (order.length === 0) return tf.zerosLike(x)
    const tokens = tf.tensor1d(
      order.map((assignment) => Math.floor(assignment / K)),
      'int32',
    )
    const used = [...experts.keys()].filter((e) => routing.tokensPerExpert[e] > 0)
    const sizes = used.map((e) => routing.tokensPerExpert[e])
    const groups = tf.split<tf.Tensor2D>(tf.gather(x, tokens), sizes, 0) // [tokens of expert, D] each
    const outputs = groups.map((rows, i) => applyExpert(rows, experts[used[i]]))
    if (order.length < inverse.length) outputs.push(tf.zeros([1, D])) // what dropped assignments read
    const byToken = tf.gather(tf.concat(outputs, 0), tf.tensor1d(inverse, 'int32')) // [T K, D]
    return combine(byToken, weights ?? routingToTensors(routing, T).expertWeights)
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

/** The same on the device without a read-back: group sizes stay a tensor, so every expert runs, some on no rows. */
export function dispatchSparseTensorflow(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  routing: RoutingTensors,
  ops: TensorflowOps,
): tf.Tensor2D {
  return tf.tidy(() => {
    const [T, K] = routing.expertIndices.shape
    const expertOf = tf.reshape(routing.expertIndices, [T * K]) as tf.Tensor1D
    const order = argsort(expertOf)
    const rows = tf.gather(x, tf.floorDiv(order, tf.scalar(K, 'int32'))) as tf.Tensor2D
    const groups = ops.splitRows(rows, ops.bincount(expertOf, experts.length), experts.length)
    const outputs = groups.map((group, e) => applyExpertTensorflow(group, experts[e], ops))
    const byToken = tf.gather(tf.concat(outputs, 0), argsort(order)) as tf.Tensor2D // [T K, D]
    return combine(byToken, routing.expertWeights)
  })
}

/** Indices that sort ascending; TensorFlow's top-k puts equal keys in index order, which makes this stable. */
function argsort(keys: tf.Tensor1D): tf.Tensor1D {
  return tf.topk(tf.neg(keys), keys.shape[0]).indices
}
