import * as tf from '@tensorflow/tfjs-core'
import type { TensorflowOps } from '../../backend/tensorflow-ops.ts'
import { applyExpert } from '../experts.ts'
import { routingToTensors } from '../router/tensors.ts'
import type { Routing, RoutingTensors } from '../router/types.ts'
import type { ExpertWeights, StackedExperts } from '../weights.ts'
import { combine } from './combine.ts'

/** For few tokens: one assignment at a time, so only the chosen experts' weights are touched and nothing is sorted. */
export function dispatchGather(x: tf.Tensor2D, experts: ExpertWeights[], routing: Routing): tf.Tensor2D {
  return tf.tidy(() => {
    const [T] = x.shape
    const K = routing.expertIndices.length / T
    const dropped = tf.zeros<tf.Rank.R2>([1, x.shape[1]])
    const rows = T === 1 ? [x] : tf.split<tf.Tensor2D>(x, T, 0)
    const outputs = Array.from(routing.expertIndices, (e, i) =>
      e < 0 ? dropped : applyExpert(rows[Math.floor(i / K)], experts[e]),
    )
    return combine(tf.concat(outputs, 0), routingToTensors(routing, T).expertWeights)
  })
}

/** The same without a read-back: the chosen experts are cut out of the stack by a tensor of indices, and not copied. */
export function dispatchGatherTensorflow(
  x: tf.Tensor2D,
  { gateUp, down }: StackedExperts,
  { expertIndices, expertWeights }: RoutingTensors,
  ops: TensorflowOps,
): tf.Tensor2D {
  return tf.tidy(() => {
    const [T, K] = expertIndices.shape
    const rows = T === 1 ? [x] : tf.split<tf.Tensor2D>(x, T, 0)
    const flat = tf.reshape(expertIndices, [T * K]) as tf.Tensor1D
    const downs = ops.pick(down, flat)
    const outputs = ops
      .pick(gateUp, flat)
      .map(
        (weight, i) =>
          tf.reshape(ops.swiglu(rows[Math.floor(i / K)], weight, downs[i]), [1, -1]) as tf.Tensor2D,
      )
    return combine(tf.concat(outputs, 0), expertWeights)
  })
}
