import * as tf from '@tensorflow/tfjs-core'

/** From this many weights on a product is cut for up to `MANY` threads. */
const LARGE = 2 ** 18
const MANY = 8

/**
 * How many parts to cut a weight matrix of `size` numbers into, along its axis of `length`, for a product with one row.
 * TensorFlow gives a product of one matrix and one row to all its threads however small it is, which costs more than the
 * product, and several such products in one call only when they are worth it (docs/log.md has the numbers). Elsewhere 1.
 */
export function partsOf(length: number, size: number): number {
  if (tf.getBackend() !== 'tensorflow') return 1
  const most = size >= LARGE ? MANY : 2
  for (let parts = most; parts > 1; parts /= 2) if (length % parts === 0) return parts
  return 1
}
