import * as tf from '@tensorflow/tfjs-core'
import { applyExpert } from '../experts.ts'
import type { RoutingTensors } from '../router/types.ts'
import type { ExpertWeights } from '../weights.ts'

/** Every expert on every token, masked by the weights: E/K times the needed work, the reference for cost. */
export function dispatchDense(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  routing: RoutingTensors,
): tf.Tensor2D {
  return tf.tidy(() => {
    const { expertIndices, expertWeights } = routing
    return experts.reduce(
      (sum, expert, e) =>
        tf.tidy(() => {
          const chosen = tf.cast(tf.equal(expertIndices, tf.scalar(e, 'int32')), 'float32') // [T, K]
          const weight = tf.sum(tf.mul(chosen, expertWeights), 1, true) // [T, 1], zero where e was not chosen
          return tf.add(sum, tf.mul(applyExpert(x, expert), weight))
        }),
      tf.zerosLike(x),
    )
  })
}
