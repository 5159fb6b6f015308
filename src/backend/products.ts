import * as tf from '@tensorflow/tfjs-core'
import { replace } from './replace.ts'

/** Runs `f` op by op, and calls `seen` with the rows [T, in] that it multiplies with each of these weights, known by their data. */
export function watchProducts<Weight, Result>(
  weights: ReadonlyMap<object, Weight>,
  seen: (weight: Weight, rows: tf.Tensor2D) => void,
  f: () => Result,
): Result {
  const look = (x: tf.Tensor, by: tf.Tensor, asColumns: boolean) => {
    const weight = weights.get(by.dataId)
    if (weight !== undefined)
      tf.tidy(() => seen(weight, (asColumns ? tf.transpose(x) : x.clone()) as tf.Tensor2D))
  }
  const restore = replace(
    tf.engine(),
    'runKernel',
    (original) =>
      ((name, inputs, attributes) => {
        if (name === tf.BatchMatMul || name === tf._FusedMatMul) {
          const { a, b } = inputs as Record<string, tf.Tensor>
          const { transposeA, transposeB } = (attributes ?? {}) as Record<string, unknown>
          look(a, b, transposeA === true)
          look(b, a, transposeB !== true)
        }
        return original(name, inputs, attributes)
      }) as typeof original,
  )
  try {
    return f()
  } finally {
    restore()
  }
}
