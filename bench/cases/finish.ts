import * as tf from '@tensorflow/tfjs-core'

/** Results of up to this many values are read whole; of larger ones copying would be timed more than computing. */
export const READ_WHOLE_UP_TO = 2 ** 20

export function readOf(values: number): 'whole' | 'sum' {
  return values > READ_WHOLE_UP_TO ? 'sum' : 'whole'
}

/** What is to be read of a result, so that it is known to be complete: itself, or a sum over all of it. */
export function digest(result: tf.Tensor): tf.Tensor {
  return readOf(result.size) === 'sum' ? tf.sum(result) : result
}

/** Waits for a result by reading a value that depends on all of it; without that a device may still be at it. */
export function finish(result: tf.Tensor): void {
  const read = digest(result)
  read.dataSync()
  if (read !== result) read.dispose()
}
