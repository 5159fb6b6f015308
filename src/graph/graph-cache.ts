import * as tf from '@tensorflow/tfjs-core'
import type { CachedShape, Remembered } from '../model/attention/kind.ts'
import { DATA_TYPES } from './protobuf.ts'
import type { Recorder } from './recorder.ts'
import type { StepSizes } from './step-inputs.ts'

/**
 * The kv-cache of a graph: per layer one variable [parts, B, N, S, w], such as keys, then values, that is written in place.
 *
 * By `InplaceUpdate`, which writes into the memory it is given, here a variable's own. TensorFlow's ops that update a
 * variable would have every later read copy all of it (docs/log.md).
 */
export class GraphCache {
  readonly names: string[] = []
  /** Copies of the variables, for taking the cache out: what was fetched must not change with the next step. */
  readonly copies: string[] = []
  /** Where new vectors go, by how many a token leaves. */
  private readonly slots = new Map<string, tf.Tensor1D>()

  /** `first` [1]: the column that the first token takes. */
  constructor(
    private readonly recorder: Recorder,
    first: tf.Tensor1D,
    private readonly shapes: CachedShape[],
    private readonly sizes: StepSizes,
  ) {
    for (const shape of shapes) {
      const key = slotsKey(shape)
      if (!this.slots.has(key)) this.slots.set(key, tf.add(cacheSlots(sizes, shape), first))
    }
  }

  append(layer: number, added: tf.Tensor4D): Remembered {
    const { recorder } = this
    const name = `cache/${layer}`
    const slots = this.slots.get(slotsKey(this.shapes[layer])) as tf.Tensor1D
    const shape = cacheShape(this.shapes[layer], this.sizes)
    const float = { T: { type: DATA_TYPES.float32 } }
    const read = recorder.read(recorder.declare(name, 'float32', shape), 'float32')
    const [rows, updates] = [recorder.bind(tf.zeros(shape), read), added].map((x) =>
      tf.reshape(x, [-1, this.shapes[layer].width]),
    )
    const written = recorder.emit(
      'InplaceUpdate',
      [rows, slots, updates].map((x) => recorder.ref(x)),
      float,
    )
    this.names.push(name)
    this.copies.push(recorder.emit('DeepCopy', [read], float))
    const all = tf.reshape(recorder.bind(tf.zerosLike(rows), written), shape)
    return tf.unstack(all) as tf.Tensor4D[]
  }
}

function slotsKey({ parts, heads }: CachedShape): string {
  return `${parts} ${heads}`
}

export function cacheShape(
  { parts, heads, width }: CachedShape,
  { batch, capacity }: StepSizes,
): [number, number, number, number, number] {
  return [parts, batch, heads, capacity, width]
}

/**
 * A layer's parts [B, N, S', w] as the variable's value, zeros in the room that is left; null: all zeros.
 * Always what an op made: a tensor of the host's numbers may lie in JavaScript's memory, which the thread that lets go of it
 * has to give back, and a variable's former value is let go of by a thread of TensorFlow's.
 */
export function cacheValue(layer: Remembered | null, shape: ReturnType<typeof cacheShape>): tf.Tensor {
  if (!layer) return tf.fill(shape, 0)
  const [parts, B, N, capacity, width] = shape
  return tf.tidy(() => {
    const all = tf.stack(layer) as tf.Tensor5D
    const stored = Math.min(all.shape[3], capacity)
    const kept = tf.slice(all, [0, 0, 0, 0, 0], [parts, B, N, stored, width])
    if (stored === capacity) return kept
    return tf.concat([kept, tf.zeros([parts, B, N, capacity - stored, width])], 3)
  })
}

/**
 * The rows [B T parts N] of new vectors [B, T, parts N, w] in a cache [parts B N S, w], whose column 0 the first token takes.
 */
function cacheSlots(
  { batch: B, tokens: T, capacity: S }: StepSizes,
  { parts, heads: N }: CachedShape,
): tf.Tensor1D {
  const rows = Int32Array.from({ length: B * T * parts * N }, (_, i) => {
    const vector = i % (parts * N)
    const token = Math.floor(i / (parts * N))
    const sequence = Math.floor(vector / N) * B + Math.floor(token / T) // of the first part, then of the second
    return (sequence * N + (vector % N)) * S + (token % T)
  })
  return tf.tensor1d(rows, 'int32')
}
