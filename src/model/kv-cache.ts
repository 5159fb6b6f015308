import * as tf from '@tensorflow/tfjs-core'
import { InputError } from '../errors.ts'
import { partsOf } from './attention/attend.ts'
import type { CachedShape, Remembered } from './attention/kind.ts'

/** Someone who keeps a cache's tensors in a place of his own (a graph's variables) while he works on it. */
export interface CacheHolder {
  /** Gives the layers' parts up; they may have room for more columns than are filled. */
  release(): Remembered[]
  /** Forgets them. */
  drop(): void
}

/** What a cache and the model that uses it have to agree on. */
export interface CacheShape {
  /** The weights that its numbers come from: those of another model of the same shape mean something else. */
  weights: object
  /** An entry a layer. */
  layers: CachedShape[]
  /** Positions that the model was made for. */
  maxPositionEmbeddings: number
}

/** A cache as it will be after a call. */
export interface CacheExtension {
  /** Each sequence's first new position. */
  firstPositions: number[]
  /** Each sequence's position after the call. */
  nextPositions: number[]
  /** Per sequence the validity of all columns that the call's queries may see. */
  columns: Uint8Array[]
}

/**
 * What attention remembers of the tokens seen: per layer keys and values or what stands for them, per sequence which columns are real.
 * Where every layer has a sliding window, only the last W - 1 columns of the widest are kept, all that a next token may look at.
 * Owns its tensors: `dispose()` when done.
 */
export class KvCache {
  /** Columns that a query of some layer sees, its own included; null: all. */
  readonly window: number | null
  private layers: (Remembered | null)[]
  private holder: CacheHolder | null = null
  /** For each sequence and stored column: 1 if it holds a token, 0 if padding. */
  private columns: Uint8Array[] = []
  /** Tokens seen by each sequence (padding not counted): the position of its next token. */
  private seen: number[] = []

  constructor(private readonly shape: CacheShape) {
    this.layers = shape.layers.map(() => null)
    const windows = shape.layers.map(({ slidingWindow }) => slidingWindow ?? Number.POSITIVE_INFINITY)
    const widest = Math.max(...windows)
    this.window = Number.isFinite(widest) ? widest : null
  }

  /** @throws InputError when it was made for another model */
  assertFits(model: CacheShape): void {
    if (model === this.shape) return // the model that made it, which asks at every token
    const check = (name: string, own: unknown, expected: unknown) => {
      if (own === expected) return
      throw new InputError(`kvCache: was made for another model, with ${name}=${own}, expected ${expected}`)
    }
    const { layers, maxPositionEmbeddings } = this.shape
    check('numLayers', layers.length, model.layers.length)
    for (const [i, layer] of layers.entries()) {
      for (const name of Object.keys(layer) as (keyof CachedShape)[]) {
        check(name, layer[name], model.layers[i][name])
      }
    }
    check('maxPositionEmbeddings', maxPositionEmbeddings, model.maxPositionEmbeddings)
    if (this.shape.weights === model.weights) return
    throw new InputError(
      "kvCache: was made for another model, of the same shape, expected what this model's createCache() returns",
    )
  }

  /** Tokens seen by the longest sequence. */
  get length(): number {
    return Math.max(0, ...this.seen)
  }

  /** B, or 0 while empty. */
  get batch(): number {
    return this.seen.length
  }

  /** Columns stored, padding included. */
  get stored(): number {
    return this.columns[0]?.length ?? 0
  }

  /** Bytes of the stored columns. */
  get bytes(): number {
    this.park()
    return this.layers.reduce(
      (sum, layer) => sum + 4 * (layer ?? []).reduce((size, part) => size + part.size, 0),
      0,
    )
  }

  /**
   * What a call with these rows (per sequence, 1 token, 0 padding) adds; nothing changes before `commit`.
   * @throws InputError when the batch differs from the one in the cache, or for more tokens than positions
   */
  extend(rows: Uint8Array[]): CacheExtension {
    const empty = this.seen.length === 0
    if (!empty && rows.length !== this.seen.length) {
      throw new InputError(
        `kvCache: holds ${this.seen.length} sequences, but forward was given ${rows.length}`,
      )
    }
    const firstPositions = empty ? rows.map(() => 0) : this.seen
    const nextPositions = firstPositions.map(
      (first, b) => first + rows[b].reduce((sum, real) => sum + real, 0),
    )
    this.assertPositions(nextPositions)
    return {
      firstPositions,
      nextPositions,
      columns: rows.map((row, b) => joined(this.columns[b] ?? new Uint8Array(), row)),
    }
  }

  private assertPositions(nextPositions: number[]): void {
    const most = this.shape.maxPositionEmbeddings
    const long = nextPositions.findIndex((count) => count > most)
    if (long < 0) return
    const cached = this.seen[long] ? `, ${this.seen[long]} of them in the cache` : ''
    throw new InputError(
      `tokens: sequence ${long} has ${nextPositions[long]}${cached}, expected at most the model's maxPositionEmbeddings=${most}`,
    )
  }

  /** Adds what a call's tokens leave in one layer, [B, T, parts N, w]; returns all that its queries may see. */
  append(layer: number, added: tf.Tensor4D): Remembered {
    this.park()
    const fresh = partsOf(added, this.shape.layers[layer].parts)
    const old = this.layers[layer] && cut(this.layers[layer], 0, this.stored) // a call that failed may have left more
    const all = old ? fresh.map((part, i) => tf.concat([old[i], part], 2)) : fresh
    this.layers[layer] = all.map((part) => tf.keep(tf.clone(part)))
    if (old) tf.dispose(old)
    return all
  }

  /** All layers have appended what `extend` announced. */
  commit({ columns, nextPositions }: CacheExtension): void {
    this.columns = columns
    this.seen = nextPositions
    if (!this.holder) this.forgetHidden()
  }

  /** Forgets columns that no next token may look at. */
  forgetHidden(): void {
    const surplus = this.window === null ? 0 : this.stored - Math.max(1, this.window - 1)
    if (surplus <= 0) return
    this.park()
    this.columns = this.columns.map((row) => row.subarray(surplus))
    this.layers = this.layers.map((layer) => layer && cut(layer, surplus, this.stored))
  }

  /**
   * A new cache of these sequences, in this order, copied: one that is named several times can be continued in several
   * ways. This one stays as it is.
   * @throws InputError for a sequence that the cache does not hold, or none
   */
  select(sequences: readonly number[]): KvCache {
    const bad = sequences.find((b) => !Number.isInteger(b) || b < 0 || b >= this.batch)
    if (bad !== undefined || sequences.length === 0) {
      throw new InputError(
        `kvCache.select: was asked for sequence ${bad ?? 'none'}, and the cache holds ${this.batch}, counted from 0`,
      )
    }
    this.park()
    const taken = new KvCache(this.shape)
    taken.columns = sequences.map((b) => this.columns[b])
    taken.seen = sequences.map((b) => this.seen[b])
    taken.layers = this.layers.map((layer) => layer && rows(layer, sequences, this.stored))
    return taken
  }

  /**
   * Hands the tensors over to `holder` (null while empty); what it later releases counts up to the columns then stored. Null if it has
   * `taken` them from who has had them.
   */
  handOver(
    holder: CacheHolder,
    taken: (from: CacheHolder) => boolean = () => false,
  ): (Remembered | null)[] | null {
    if (this.holder && taken(this.holder)) {
      this.holder.drop()
      this.holder = holder
      return null
    }
    this.park()
    const { layers } = this
    this.layers = layers.map(() => null)
    this.holder = holder
    return layers
  }

  /** Takes the tensors back from a holder, room and all. */
  park(): void {
    if (!this.holder) return
    this.layers = this.holder.release()
    this.holder = null
  }

  isHeldBy(holder: CacheHolder): boolean {
    return this.holder === holder
  }

  dispose(): void {
    this.holder?.drop()
    this.holder = null
    for (const layer of this.layers) if (layer) tf.dispose(layer)
    this.layers.fill(null)
    this.columns = []
    this.seen = []
  }
}

/** These sequences' first columns, as new tensors. */
function rows(layer: Remembered, sequences: readonly number[], columns: number): Remembered {
  return tf.tidy(() => {
    const indices = tf.tensor1d([...sequences], 'int32')
    return layer.map((part) =>
      tf.keep(tf.gather(tf.slice(part, [0, 0, 0, 0], [-1, -1, columns, -1]), indices)),
    )
  })
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

/** Columns from `from`, `count` of them; frees the larger tensors. */
function cut(layer: Remembered, from: number, count: number): Remembered {
  if (from === 0 && count === layer[0].shape[2]) return layer
  const kept = tf.tidy(() =>
    layer.map((part) => tf.keep(tf.slice(part, [0, 0, from, 0], [-1, -1, count, -1]))),
  )
  tf.dispose(layer)
  return kept
}
