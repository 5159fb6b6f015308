import { isDeepStrictEqual } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import { onBackend } from '../backend/on-backend.ts'
import type { HostNumbers, NativeRun } from '../backend/tensorflow.ts'
import type { CachedShape, Remembered } from '../model/attention/kind.ts'
import type { CacheHolder, KvCache } from '../model/kv-cache.ts'
import { FLOAT } from './protobuf.ts'
import { type Recorder, sizeOf } from './recorder.ts'
import type { Session } from './sessions.ts'
import type { StepSizes } from './step-inputs.ts'

/** B and S: what steps agree on that can share a cache's variables. */
type CacheSizes = Pick<StepSizes, 'batch' | 'capacity'>

/**
 * The kv-cache of a graph: per layer one variable [parts, B, N, S, w], such as keys, then values, that is written in place.
 *
 * By `InplaceUpdate`, which writes into the memory it is given, here a variable's own. TensorFlow's ops that update a
 * variable would have every later read copy all of it (docs/log.md).
 */
export class GraphCache {
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
    const slots = this.slots.get(slotsKey(this.shapes[layer])) as tf.Tensor1D
    const shape = cacheShape(this.shapes[layer], this.sizes)
    const handle = recorder.declare(variableOf(layer, this.sizes), 'float32', shape)
    const read = recorder.read(handle, 'float32')
    const [rows, updates] = [recorder.bind(tf.zeros(shape), read), added].map((x) =>
      tf.reshape(x, [-1, this.shapes[layer].width]),
    )
    const refs = [rows, slots, updates].map((x) => recorder.ref(x))
    const written = recorder.emit('InplaceUpdate', refs, { T: FLOAT })
    const all = tf.reshape(recorder.bind(tf.zerosLike(rows), written), shape)
    return tf.unstack(all) as tf.Tensor4D[]
  }
}

function slotsKey({ parts, heads }: CachedShape): string {
  return `${parts} ${heads}`
}

/** Where one cache at a time lies in a session's variables, for all its steps of these sizes. */
export class CachePlace implements CacheHolder {
  private readonly backend = tf.getBackend()
  private readonly access: { write: NativeRun; read: NativeRun }
  private held: KvCache | null = null
  private empty = new Float32Array()

  constructor(
    private readonly session: Session,
    private readonly shapes: CachedShape[],
    private readonly sizes: CacheSizes,
  ) {
    this.access = session.access(
      shapes.map((shape, layer) => ({
        name: variableOf(layer, sizes),
        dtype: 'float32',
        shape: cacheShape(shape, sizes),
      })),
    )
  }

  /** Moves a cache's columns into the variables, unless they are there already. One that is there goes back to its owner first. */
  hold(cache: KvCache): void {
    if (cache.isHeldBy(this)) return
    this.park()
    const layers = cache.handOver(this, (from) => this.takes(from))
    this.held = cache
    if (!layers) return
    this.session.run(
      this.access.write,
      layers.map((layer, i) => {
        const shape = cacheShape(this.shapes[i], this.sizes)
        return layer ? cacheValue(layer, shape) : this.zeros(sizeOf(shape))
      }),
    )
    for (const layer of layers) if (layer) tf.dispose(layer)
  }

  /** Makes another place's variables this one's too, without a copy: from a prompt's session to the one that decodes. */
  private takes(from: CacheHolder): boolean {
    if (!(from instanceof CachePlace) || !isDeepStrictEqual(from.sizes, this.sizes)) return false
    this.session.take(from.access.read, this.access.write)
    return true
  }

  /** Kept: a new array for each cache would have garbage collected all the time, in threads that compute. */
  private zeros(size: number): Float32Array {
    if (this.empty.length < size) this.empty = new Float32Array(size)
    return this.empty.subarray(0, size)
  }

  drop(): void {
    this.held = null
  }

  release(): Remembered[] {
    this.drop()
    // The owner may ask for it while another model's backend is active, and inside an eager forward's tidy.
    return onBackend(this.backend, () =>
      this.session.run(this.access.read, []).map(({ data, shape: [parts, ...shape] }: HostNumbers) => {
        const length = data.length / parts
        return Array.from({ length: parts }, (_, part) => {
          const numbers = data.subarray(part * length, (part + 1) * length) as Float32Array
          return tf.keep(tf.tensor4d(numbers, shape as tf.Tensor4D['shape'], 'float32'))
        })
      }),
    )
  }

  /** Gives the cache back to its owner. */
  park(): void {
    this.held?.park()
  }
}

function variableOf(layer: number, { batch, capacity }: CacheSizes): string {
  return `cache/${batch}x${capacity}/${layer}`
}

function cacheShape(
  { parts, heads, width }: CachedShape,
  { batch, capacity }: CacheSizes,
): [number, number, number, number, number] {
  return [parts, batch, heads, capacity, width]
}

/** A layer's parts [B, N, S', w] as the variable's value, zeros in the room that is left. */
export function cacheValue(layer: Remembered, shape: ReturnType<typeof cacheShape>): Float32Array {
  const [parts, B, N, capacity, d] = shape
  const rows = B * N
  const value = new Float32Array(parts * rows * capacity * d)
  for (const [i, x] of layer.entries()) {
    const stored = x.dataSync() as Float32Array
    const columns = x.shape[2]
    for (let row = 0; row < rows; row++) {
      const kept = stored.subarray(row * columns * d, (row * columns + Math.min(columns, capacity)) * d)
      value.set(kept, (i * rows + row) * capacity * d)
    }
  }
  return value
}

/** The rows [B T parts N] of new vectors [B, T, parts N, w] in a cache [parts B N S, w], whose column 0 the first token takes. */
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
