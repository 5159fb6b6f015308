import * as tf from '@tensorflow/tfjs-core'
import type { LinearWeights } from './weights.ts'

/** `x W + b`: x [T, in] -> [T, out]. */
export function linear(x: tf.Tensor2D, { weight, bias }: LinearWeights): tf.Tensor2D {
  const y = tf.matMul(x, weight) as tf.Tensor2D
  return bias ? tf.tidy(() => tf.add(y, bias)) : y
}
