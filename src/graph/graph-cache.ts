import * as tf from '@tensorflow/tfjs-core'
import type { KeysValues } from '../model/attention.ts'
import type { AttentionConfig } from '../model/config.ts'
import { DATA_TYPES } from './protobuf.ts'
import type { Recorder } from './recorder.ts'
import type { StepSizes } from './step-inputs.ts'

/**
 * The kv-cache of a graph: per layer one variable [2, B, Nk, S, d], keys then values, that is written in place.
 *
 * By `InplaceUpdate`, which writes into the memory it is given, here a variable's own. TensorFlow's ops that update a
 * variable would have every later read copy all of it (docs/log.md).
 */
export class GraphCache {
  readonly names: string[] = []
  /** Copies of the variables, for taking the cache out: what was fetched must not change with the next step. */
  readonly copies: string[] = []

  constructor(
    private readonly recorder: Recorder,
    private readonly slots: tf.Tensor1D,
    private readonly attention: AttentionConfig,
    private readonly sizes: StepSizes,
  ) {}

  append(layer: number, added: tf.Tensor4D): KeysValues {
    const { recorder } = this
    const name = `cache/${layer}`
    const shape = cacheShape(this.attention, this.sizes)
    const float = { T: { type: DATA_TYPES.float32 } }
    const read = recorder.read(recorder.declare(name, 'float32', shape), 'float32')
    const [rows, updates] = [recorder.bind(tf.zeros(shape), read), added].map((x) =>
      tf.reshape(x, [-1, this.attention.headDim]),
    )
    const written = recorder.emit(
      'InplaceUpdate',
      [rows, this.slots, updates].map((x) => recorder.ref(x)),
      float,
    )
    this.names.push(name)
    this.copies.push(recorder.emit('DeepCopy', [read], float))
    const all = tf.reshape(recorder.bind(tf.zerosLike(rows), written), shape)
    const [keys, values] = tf.unstack(all) as tf.Tensor4D[]
    return { keys, values }
  }
}

export function cacheShape(
  { numKeyValueHeads, headDim }: AttentionConfig,
  { batch, capacity }: StepSizes,
): [number, number, number, number, number] {
  return [2, batch, numKeyValueHeads, capacity, headDim]
}

/**
 * A layer's keys and values [B, Nk, S', d] as the variable's value, zeros in the room that is left; null: all zeros.
 * Always what an op made: a tensor of the host's numbers may lie in JavaScript's memory, which the thread that lets go of it
 * has to give back, and a variable's former value is let go of by a thread of TensorFlow's.
 */
export function cacheValue(layer: KeysValues | null, shape: ReturnType<typeof cacheShape>): tf.Tensor {
  if (!layer) return tf.fill(shape, 0)
  const [, B, Nk, capacity, d] = shape
  return tf.tidy(() => {
    const both = tf.stack([layer.keys, layer.values]) as tf.Tensor5D
    const stored = Math.min(layer.keys.shape[2], capacity)
    const kept = tf.slice(both, [0, 0, 0, 0, 0], [2, B, Nk, stored, d])
    if (stored === capacity) return kept
    return tf.concat([kept, tf.zeros([2, B, Nk, capacity - stored, d])], 3)
  })
}
