import * as tf from '@tensorflow/tfjs-core'

/** RMSNorm (Zhang and Sennrich 2019): `weight * x / sqrt(mean(x^2) + eps)` over the last axis. x [T, D], weight [D]. */
export function rmsNorm(x: tf.Tensor2D, weight: tf.Tensor1D, eps: number): tf.Tensor2D {
  return tf.tidy(() => {
    const meanSquare = tf.mean(tf.square(x), -1, true) // [T, 1]
    const scale = tf.rsqrt(tf.add(meanSquare, eps)) // [T, 1]
    return tf.mul(tf.mul(x, scale), weight) // [T, D]
  })
}
