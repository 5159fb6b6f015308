import * as tf from '@tensorflow/tfjs-core'
import type { Clamp } from '../config.ts'
import { applyExpert } from '../experts.ts'
import type { RoutingTensors } from '../router/types.ts'
import type { ExpertWeights } from '../weights.ts'

/**
 * Every expert on every token, and of its outputs those of tokens that chose it: E/K times the needed work, the reference for
 * cost. Chosen, not multiplied by zero: an expert that is not numbers leaves the tokens of others alone.
 */
export function dispatchDense(
  x: tf.Tensor2D,
  experts: ExpertWeights[],
  routing: RoutingTensors,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const { expertWeights } = routing
    const expertIndices = tf.cast(routing.expertIndices, 'float32') // int32 is compared in the host's memory also on a card
    const none = tf.zerosLike(x)
    return experts.reduce(
      (sum, expert, e) =>
        tf.tidy(() => {
          const chosen = tf.equal(expertIndices, tf.scalar(e)) // [T, K]
          const weight = tf.sum(tf.mul(tf.cast(chosen, 'float32'), expertWeights), 1, true) // [T, 1]
          const weighted = tf.mul(applyExpert(x, expert, clamp), weight)
          return tf.add(sum, tf.where(tf.any(chosen, 1, true), weighted, none))
        }),
      none,
    )
  })
}
