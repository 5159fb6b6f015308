import * as tf from '@tensorflow/tfjs-core'

/**
 * Runs `work` with a started backend active, then makes the one from before active again: two models of one process may
 * be on different devices.
 */
export function onBackend<T>(name: string, work: () => T): T {
  const before = tf.getBackend()
  if (before === name) return work()
  void tf.setBackend(name) // done when it returns, since the backend was started before
  try {
    return work()
  } finally {
    void tf.setBackend(before)
  }
}
