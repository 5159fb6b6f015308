import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../backend/fused.ts'

/** RMSNorm (Zhang and Sennrich 2019): `weight * x / sqrt(mean(x^2) + eps)` over the last axis. x [..., D], weight [D]. */
export function rmsNorm<X extends tf.Tensor>(x: X, weight: tf.Tensor1D, eps: number): X {
  return fused('rmsNorm', [x, weight], { eps }, () =>
    tf.tidy(() => {
      const meanSquare = tf.mean(tf.square(x), -1, true) // [..., 1]
      const scale = tf.rsqrt(tf.add(meanSquare, eps)) // [..., 1]
      return tf.mul(tf.mul(x, scale), weight) as X // [..., D]
    }),
  )
}
