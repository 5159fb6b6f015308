import * as tf from '@tensorflow/tfjs-core'
import { InputError } from '../errors.ts'

/** Keys and values of one layer, keys stored transposed so that scoring a query needs no transpose. */
interface LayerKeysValues {
  /** [B, Nk, d, S] */
  keys: tf.Tensor4D
  /** [B, Nk, S, d] */
  values: tf.Tensor4D
}

/**
 * What attention remembers of the tokens seen: per layer the keys and values, per sequence which columns are real.
 * With a sliding window W only the last W - 1 columns are kept, all that a next token may look at.
 * Owns its tensors: `dispose()` when done.
 */
export class KvCache {
  private readonly layers: (LayerKeysValues | null)[]
  /** For each sequence and stored column: 1 if it holds a token, 0 if padding. Row-major [B, columns]. */
  private columns: Uint8Array[] = []
  /** Tokens seen by each sequence (padding not counted): the position of its next token. */
  private seen: number[] = []

  constructor(
    numLayers: number,
    private readonly slidingWindow: number | null,
  ) {
    this.layers = new Array(numLayers).fill(null)
  }

  /** Tokens seen by the longest sequence. */
  get length(): number {
    return Math.max(0, ...this.seen)
  }

  /** B, or 0 while empty. */
  get batch(): number {
    return this.seen.length
  }

  /** Bytes held in tensors. */
  get bytes(): number {
    return this.layers.reduce(
      (sum, layer) => sum + (layer ? 4 * (layer.keys.size + layer.values.size) : 0),
      0,
    )
  }

  /**
   * Announces the rows of a call before its layers append them.
   * Returns each sequence's first new position and the validity of all columns that the call's queries may see.
   * @throws InputError when the batch differs from the one in the cache
   */
  extend(rows: Uint8Array[]): { firstPositions: number[]; columns: Uint8Array[] } {
    if (this.seen.length === 0) {
      this.seen = rows.map(() => 0)
      this.columns = rows.map(() => new Uint8Array())
    }
    if (rows.length !== this.seen.length) {
      throw new InputError(
        `kvCache: holds ${this.seen.length} sequences, but forward was given ${rows.length}`,
      )
    }
    const firstPositions = this.seen
    const columns = this.columns.map((kept, b) => Uint8Array.from([...kept, ...rows[b]]))
    this.seen = this.seen.map((count, b) => count + rows[b].reduce((sum, real) => sum + real, 0))
    this.columns = columns.map((all) => all.subarray(this.firstKept(all.length)))
    return { firstPositions, columns }
  }

  /** Adds a call's keys [B, Nk, d, T] and values [B, Nk, T, d] of one layer; returns all that its queries may see. */
  append(layer: number, keys: tf.Tensor4D, values: tf.Tensor4D): LayerKeysValues {
    const old = this.layers[layer]
    const all = old
      ? { keys: tf.concat([old.keys, keys], 3), values: tf.concat([old.values, values], 2) }
      : { keys, values }
    const stored = all.values.shape[2]
    const from = this.firstKept(stored)
    const kept = tf.tidy(() => ({
      keys: from ? tf.slice(all.keys, [0, 0, 0, from]) : tf.clone(all.keys),
      values: from ? tf.slice(all.values, [0, 0, from, 0]) : tf.clone(all.values),
    }))
    this.layers[layer] = { keys: tf.keep(kept.keys), values: tf.keep(kept.values) }
    if (old) tf.dispose([old.keys, old.values])
    return all
  }

  dispose(): void {
    for (const layer of this.layers) if (layer) tf.dispose([layer.keys, layer.values])
    this.layers.fill(null)
    this.columns = []
    this.seen = []
  }

  private firstKept(columns: number): number {
    return this.slidingWindow === null ? 0 : Math.max(0, columns - (this.slidingWindow - 1))
  }
}
