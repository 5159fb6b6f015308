import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../backend/fused.ts'
import type { ModelConfig } from './config.ts'

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

/**
 * LayerNorm (Ba et al. 2016): `(x - mean) / sqrt(var + eps) * weight + bias` over the last axis. x [..., D]; weight [D], or [2D]
 * with the bias behind it.
 */
export function layerNorm<X extends tf.Tensor>(x: X, weight: tf.Tensor1D, eps: number): X {
  return tf.tidy(() => {
    const centred = tf.sub(x, tf.mean(x, -1, true)) // [..., D]
    const variance = tf.mean(tf.square(centred), -1, true) // [..., 1]
    const normed = tf.mul(centred, tf.rsqrt(tf.add(variance, eps)))
    const D = x.shape.at(-1) as number
    if (weight.size === D) return tf.mul(normed, weight) as X
    const [scale, bias] = tf.split(weight, 2)
    return tf.add(tf.mul(normed, scale), bias) as X
  })
}

/** The norms of a decoder's layers. */
export function decoderNorm({
  norms,
  normEps,
}: Pick<ModelConfig, 'norms' | 'normEps'>): (x: tf.Tensor2D, weight: tf.Tensor1D) => tf.Tensor2D {
  const norm = norms ? layerNorm : rmsNorm
  return (x, weight) => norm(x, weight, normEps)
}
