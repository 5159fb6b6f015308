import * as tf from '@tensorflow/tfjs-core'
import type { CachedShape, KeysValues } from '../model/attention/kind.ts'
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
  /** Where new keys and values go, by the number of key-value heads. */
  private readonly slots = new Map<number, tf.Tensor1D>()

  /** `first` [1]: the column that the first token takes. */
  constructor(
    private readonly recorder: Recorder,
    first: tf.Tensor1D,
    private readonly shapes: CachedShape[],
    private readonly sizes: StepSizes,
  ) {
    for (const shape of shapes) {
      const { numKeyValueHeads: Nk } = shape
      if (!this.slots.has(Nk)) this.slots.set(Nk, tf.add(cacheSlots(sizes, shape), first))
    }
  }

  append(layer: number, added: tf.Tensor4D): KeysValues {
    const { recorder } = this
    const name = `cache/${layer}`
    const { numKeyValueHeads, headDim } = this.shapes[layer]
    const slots = this.slots.get(numKeyValueHeads) as tf.Tensor1D
    const shape = cacheShape(this.shapes[layer], this.sizes)
    const float = { T: { type: DATA_TYPES.float32 } }
    const read = recorder.read(recorder.declare(name, 'float32', shape), 'float32')
    const [rows, updates] = [recorder.bind(tf.zeros(shape), read), added].map((x) =>
      tf.reshape(x, [-1, headDim]),
    )
    const written = recorder.emit(
      'InplaceUpdate',
      [rows, slots, updates].map((x) => recorder.ref(x)),
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
  { numKeyValueHeads, headDim }: CachedShape,
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

/**
 * The rows [B T 2Nk] of new keys and values [B, T, 2 Nk, d] in a cache [2 B Nk S, d], keys before values, whose column 0 the
 * first token takes.
 */
function cacheSlots(
  { batch: B, tokens: T, capacity: S }: StepSizes,
  { numKeyValueHeads: Nk }: CachedShape,
): tf.Tensor1D {
  const rows = Int32Array.from({ length: B * T * 2 * Nk }, (_, i) => {
    const head = i % (2 * Nk)
    const token = Math.floor(i / (2 * Nk))
    const sequence = Math.floor(head / Nk) * B + Math.floor(token / T) // of keys, then of values
    return (sequence * Nk + (head % Nk)) * S + (token % T)
  })
  return tf.tensor1d(rows, 'int32')
}
