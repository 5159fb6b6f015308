import * as tf from '@tensorflow/tfjs-core'

/** -ln softmax(logits)[target] of each row; logits [B, T, V], targets [B T]. Disposes the logits. */
export function tokenLosses(logits: tf.Tensor3D, targets: Int32Array): Float32Array {
  const [B, T, V] = logits.shape
  const losses = tf.tidy(() => {
    const places = targets.map((target, row) => row * V + target)
    const chosen = tf.gather(tf.reshape(logits, [B * T * V]), tf.tensor1d(places, 'int32'))
    return tf.sub(tf.logSumExp(tf.reshape(logits, [B * T, V]), 1), chosen)
  })
  logits.dispose()
  const values = losses.dataSync() as Float32Array
  losses.dispose()
  return values
}
