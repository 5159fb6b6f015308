import * as tf from '@tensorflow/tfjs-core'
import type { TensorflowOps } from '../../backend/tensorflow-ops.ts'
import type { Clamp } from '../config.ts'
import { applyExpert, expertColumns } from '../experts.ts'
import type { Routing, RoutingTensors } from '../router/types.ts'
import { mapLeaves } from '../tree.ts'
import type { Experts, ExpertWeights, StackedExperts } from '../weights.ts'
import { combine } from './combine.ts'

/**
 * For few tokens: one assignment at a time, so only the chosen experts' weights are touched and nothing is sorted.
 * `weights` [T, K] are the decision's own.
 */
export function dispatchGather(
  x: tf.Tensor2D,
  experts: Experts,
  routing: Routing,
  weights: tf.Tensor2D,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const [T] = x.shape
    const K = routing.expertIndices.length / T
    const dropped = tf.zeros<tf.Rank.R2>([1, x.shape[1]])
    const rows = T === 1 ? [x] : tf.split<tf.Tensor2D>(x, T, 0)
    const outputs = Array.from(routing.expertIndices, (e, i) =>
      e < 0 ? dropped : applyExpert(rows[Math.floor(i / K)], experts.at(e)!, clamp),
    )
    return combine(tf.concat(outputs, 0), weights)
  })
}

/** The same without a read-back: the chosen experts are cut out of the stack by a tensor of indices, and not copied. */
export function dispatchGatherTensorflow(
  x: tf.Tensor2D,
  stacked: StackedExperts,
  { expertIndices, expertWeights }: RoutingTensors,
  ops: TensorflowOps,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const [T, K] = expertIndices.shape
    const rows = T === 1 ? [x] : tf.split<tf.Tensor2D>(x, T, 0)
    const flat = tf.reshape(expertIndices, [T * K]) as tf.Tensor1D
    const picked = mapLeaves<tf.Tensor>(stacked, (stack) => ops.pick(stack, flat)) as Picked
    const outputs = Array.from({ length: T * K }, (_, i) => {
      const columns = expertColumns(rows[Math.floor(i / K)], chosen(picked, i), ops, clamp)
      return tf.reshape(columns, [1, -1]) as tf.Tensor2D
    })
    return combine(tf.concat(outputs, 0), expertWeights)
  })
}

/** The weights of all T K assignments. */
type Picked = Record<keyof ExpertWeights, { weight: tf.Tensor2D[]; bias: tf.Tensor1D[] | null }>

function chosen({ gateUp, down }: Picked, i: number): ExpertWeights {
  const of = ({ weight, bias }: Picked['down']) => ({ weight: weight[i], bias: bias?.[i] ?? null })
  return { gateUp: of(gateUp), down: of(down) }
}
