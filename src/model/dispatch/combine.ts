import * as tf from '@tensorflow/tfjs-core'

/** Weighted sum of each token's K expert outputs. outputs [T K, D] token by token, weights [T, K] -> [T, D]. */
export function combine(outputs: tf.Tensor2D, weights: tf.Tensor2D): tf.Tensor2D {
  const [T, K] = weights.shape
  const perToken = tf.reshape(outputs, [T, K, outputs.shape[1]])
  return tf.sum(tf.mul(perToken, tf.expandDims(weights, 2)), 1)
}
