import * as tf from '@tensorflow/tfjs-core'
import { partsOf } from './parts.ts'
import type { LinearWeights } from './weights.ts'

/** `x W + b`: x [T, in] -> [T, out]. */
export function linear(x: tf.Tensor2D, { weight, bias }: LinearWeights): tf.Tensor2D {
  const y = x.shape[0] === 1 ? rowProduct(x, weight) : (tf.matMul(x, weight) as tf.Tensor2D)
  return bias ? tf.tidy(() => tf.add(y, bias)) : y
}

/** x W for a single row [1, in]: the sum over parts of `in`. */
function rowProduct(x: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D {
  const [inputs, outputs] = weight.shape
  const P = partsOf(inputs, weight.size)
  if (P === 1) return tf.matMul(x, weight)
  return tf.tidy(() => {
    const rows = tf.reshape(x, [P, 1, inputs / P])
    const parts = tf.matMul(rows, tf.reshape(weight, [P, inputs / P, outputs])) // [P, 1, out]
    return tf.sum(parts, 0) as tf.Tensor2D
  })
}

/** W x^T, the large matrix on the left: W [out, in], x [T, in] -> [out, T]. */
export function leftProduct(weight: tf.Tensor2D, x: tf.Tensor2D): tf.Tensor2D {
  const [outputs, inputs] = weight.shape
  const P = x.shape[0] === 1 ? partsOf(outputs, weight.size) : 1
  if (P === 1) return tf.matMul(weight, x, false, true)
  return tf.tidy(() => {
    const rows = tf.tile(tf.reshape(x, [1, inputs, 1]), [P, 1, 1]) // tfjs has no gradient of a broadcast product
    const parts = tf.matMul(tf.reshape(weight, [P, outputs / P, inputs]), rows) // [P, out / P, 1]
    return tf.reshape(parts, [outputs, 1])
  })
}
