import * as tf from '@tensorflow/tfjs-core'
import { applyExpert } from '../experts.ts'
import type { RoutingTensors } from '../router.ts'
import type { ExpertWeights } from '../weights.ts'

/** Every expert on every token, masked by the weights: E/K times the needed work, the reference for cost. */
export function dispatchDense(x: tf.Tensor2D, experts: ExpertWeights[], routing: RoutingTensors): tf.Tensor2D {
  return tf.tidy(() => {
    const [T] = x.shape
    const chosen = tf.oneHot(routing.expertIndices, experts.length) // [T, K, E]
    const mask = tf.sum(tf.mul(chosen, tf.expandDims(routing.expertWeights, 2)), 1) // [T, E]
    return experts.reduce(
      (sum, expert, e) =>
        tf.tidy(() => tf.add(sum, tf.mul(applyExpert(x, expert), tf.slice(mask, [0, e], [T, 1])))),
      tf.zerosLike(x),
    )
  })
}
