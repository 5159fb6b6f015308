import type * as tf from '@tensorflow/tfjs-core'

/** The logits of a forward as values, the tensor freed. */
export function logitsOf({ logits }: { logits: tf.Tensor }): Float32Array {
  const values = logits.dataSync() as Float32Array
  logits.dispose()
  return values
}
