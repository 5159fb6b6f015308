import * as tf from '@tensorflow/tfjs-core'
import type { Clamp } from '../config.ts'
import { applyExpert } from '../experts.ts'
import type { RoutingTensors } from '../router/types.ts'
import type { Experts } from '../weights.ts'

/**
 * Every expert on every token, and of its outputs those of tokens that chose it: E/K times the needed work, the reference for
 * cost. Chosen, not multiplied by zero: an expert that is not numbers leaves the tokens of others alone.
 */
export function dispatchDense(
  x: tf.Tensor2D,
  experts: Experts,
  routing: RoutingTensors,
  clamp?: Clamp,
): tf.Tensor2D {
  return tf.tidy(() => {
    const { expertWeights } = routing
    const expertIndices = tf.cast(routing.expertIndices, 'float32') // int32 is compared in the host's memory also on a card
    const none = tf.zerosLike(x)
    let sum: tf.Tensor2D = none
    for (let e = 0; e < experts.length; e++) {
      sum = tf.tidy(() => {
        const chosen = tf.equal(expertIndices, tf.scalar(e)) // [T, K]
        const weight = tf.sum(tf.mul(tf.cast(chosen, 'float32'), expertWeights), 1, true) // [T, 1]
        const weighted = tf.mul(applyExpert(x, experts.at(e)!, clamp), weight)
        return tf.add(sum, tf.where(tf.any(chosen, 1, true), weighted, none))
      })
    }
    return sum
  })
}
