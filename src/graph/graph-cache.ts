import * as tf from '@tensorflow/tfjs-core'
import type { KeysValues } from '../model/attention.ts'
import type { AttentionConfig } from '../model/config.ts'
import { DATA_TYPES } from './protobuf.ts'
import type { Recorder } from './recorder.ts'
import type { StepSizes } from './step-inputs.ts'

/**
 * The kv-cache of a graph: per layer one variable [2, B, Nk, S, d], keys then values, that is written in place.
 *
 * Variables of TensorFlow's first kind: reading one of the second kind (a resource) copies all of it once it has been
 * written in place, which for a cache is far more than a step's own work (docs/log.md).
 */
export class GraphCache {
  readonly names: string[] = []
  /** Copies of the variables, for taking the cache out: what was fetched must not change with the next step. */
  readonly copies: string[] = []

  constructor(
    private readonly recorder: Recorder,
    private readonly slots: tf.Tensor2D,
    private readonly attention: AttentionConfig,
    private readonly sizes: StepSizes,
  ) {}

  append(layer: number, added: tf.Tensor4D): KeysValues {
    const { recorder } = this
    const name = `cache/${layer}`
    const shape = cacheShape(this.attention, this.sizes)
    const float = { T: { type: DATA_TYPES.float32 } }
    recorder.declareInPlace(name, 'float32', shape)
    const updates = tf.reshape(added, [-1, this.attention.headDim])
    const written = recorder.emit(
      'ScatterNdUpdate',
      [name, recorder.ref(this.slots), recorder.ref(updates)],
      { ...float, Tindices: { type: DATA_TYPES.int32 }, use_locking: { b: false } },
    )
    this.names.push(name)
    this.copies.push(recorder.emit('DeepCopy', [name], float))
    const [keys, values] = tf.unstack(recorder.bind(tf.zeros(shape), written)) as tf.Tensor4D[]
    return { keys, values }
  }
}

export function cacheShape(
  { numKeyValueHeads, headDim }: AttentionConfig,
  { batch, capacity }: StepSizes,
): [number, number, number, number, number] {
  return [2, batch, numKeyValueHeads, capacity, headDim]
}

/** A layer's keys and values [B, Nk, S', d] as the variable's value, zeros in the room that is left; null: all zeros. */
export function cacheValue(layer: KeysValues | null, shape: ReturnType<typeof cacheShape>): tf.Tensor {
  if (!layer) return tf.zeros(shape)
  const [, B, Nk, capacity, d] = shape
  return tf.tidy(() => {
    const both = tf.stack([layer.keys, layer.values]) as tf.Tensor5D
    const stored = Math.min(layer.keys.shape[2], capacity)
    const kept = tf.slice(both, [0, 0, 0, 0, 0], [2, B, Nk, stored, d])
    if (stored === capacity) return kept
    return tf.concat([kept, tf.zeros([2, B, Nk, capacity - stored, d])], 3)
  })
}
