import * as tf from '@tensorflow/tfjs-core'
import { MASKED } from '../model/attention.ts'
import type { AttentionConfig, ModelConfig } from '../model/config.ts'
import { type RopeTables, ropeFrequencies } from '../model/rope.ts'

/** B, T and S of a step: its sequences, its tokens of each, and the columns that its cache has room for. */
export interface StepSizes {
  batch: number
  tokens: number
  capacity: number
}

/** What a step is fed, as one tensor of whole numbers: every tensor that is fed costs as much as several small ops. */
export interface StepInputs {
  /** The first column that the new tokens take; the same for all sequences. */
  firstColumn: number
  /** [B] the rows whose logits are wanted when the step gives the last ones only. */
  lastRows: Int32Array
  /** [B T] */
  tokens: Int32Array
  /** [B T] */
  positions: Int32Array
  /** Per sequence the columns that hold a token (1) after this step; the others (0) are padding or still empty. */
  columns: Uint8Array[]
}

/** Lengths of the inputs in the order in which they stand one after the other. */
function lengthsOf({ batch: B, tokens: T, capacity: S }: StepSizes): number[] {
  return [1, B, B * T, B * T, B * S]
}

export function packedLength(sizes: StepSizes): number {
  return lengthsOf(sizes).reduce((a, b) => a + b)
}

export function packInputs(inputs: StepInputs, sizes: StepSizes): Int32Array {
  const packed = new Int32Array(packedLength(sizes))
  const parts = [[inputs.firstColumn], inputs.lastRows, inputs.tokens, inputs.positions, ...inputs.columns]
  let at = 0
  for (const part of parts) {
    packed.set(part, at)
    at += part.length
  }
  return packed
}

/** The inputs as the decoder wants them, made in the graph. */
export interface UnpackedInputs {
  tokens: tf.Tensor1D
  lastRows: tf.Tensor1D
  rope: RopeTables
  /** [B, 1, G T, S] */
  mask: tf.Tensor4D
  /** Where the new keys and values go, as `cacheSlots` says. */
  slots: tf.Tensor2D
}

export function unpackInputs(packed: tf.Tensor1D, sizes: StepSizes, config: ModelConfig): UnpackedInputs {
  const [first, lastRows, tokens, positions, columns] = tf.split<tf.Tensor1D>(packed, lengthsOf(sizes))
  return {
    tokens,
    lastRows,
    rope: ropeInGraph(positions, sizes, config),
    mask: maskInGraph(first, columns, sizes, config.attention),
    slots: tf.add(cacheSlots(sizes, config.attention), tf.mul(first, tf.tensor1d([0, 0, 0, 1], 'int32'))),
  }
}

/** `ropeTables` as ops. positions [B T]. */
export function ropeInGraph(
  positions: tf.Tensor1D,
  { batch, tokens }: StepSizes,
  config: ModelConfig,
): RopeTables {
  const frequencies = tf.tensor1d(ropeFrequencies(config.rope, config.attention.headDim)) // [n/2]
  const angles = tf.mul(tf.expandDims(tf.cast(positions, 'float32'), 1), frequencies) // [B T, n/2]
  const [cos, sin] = [tf.cos(angles), tf.sin(angles)]
  const shape: [number, number, number, number] = [batch, tokens, 1, 2 * frequencies.size]
  return {
    cos: tf.reshape(tf.concat([cos, cos], 1), shape),
    sin: tf.reshape(tf.concat([tf.neg(sin), sin], 1), shape),
  }
}

/**
 * `maskValues` as ops: 0 or a very negative number [B, 1, G T, S]. first [1] is the column of the first query, columns
 * [B S] say which hold a token.
 */
export function maskInGraph(
  first: tf.Tensor1D,
  columns: tf.Tensor1D,
  { batch: B, tokens: T, capacity: S }: StepSizes,
  { numHeads, numKeyValueHeads, slidingWindow }: AttentionConfig,
): tf.Tensor4D {
  const G = numHeads / numKeyValueHeads
  const window = slidingWindow !== null && slidingWindow < S ? slidingWindow : null
  const empty = tf.mul(tf.sub(tf.cast(columns, 'float32'), 1), -MASKED)
  const perSequence = tf.reshape(empty, [B, 1, S])
  const perGroup = (mask: tf.Tensor) => tf.tile(tf.reshape(mask, [B, 1, T, S]), [1, 1, G, 1]) as tf.Tensor4D
  if (T === 1 && window === null) return perGroup(perSequence) // what comes later is still empty
  const own = tf.expandDims(tf.add(tf.range(0, T, 1, 'int32'), first), 1) // [T, 1]
  const ahead = tf.sub(tf.expandDims(tf.range(0, S, 1, 'int32'), 0), own) // [T, S]
  const later = tf.greater(ahead, tf.scalar(0, 'int32'))
  const hidden =
    window === null ? later : tf.logicalOr(later, tf.lessEqual(ahead, tf.scalar(-window, 'int32')))
  return perGroup(tf.minimum(tf.mul(tf.cast(hidden, 'float32'), MASKED), perSequence))
}

/**
 * The places [B T 2Nk, 4] of new keys and values [B, T, 2 Nk, d] in a cache [2, B, Nk, S, d] whose column 0 the first
 * token takes: key or value, sequence, head, column.
 */
function cacheSlots(
  { batch: B, tokens: T }: StepSizes,
  { numKeyValueHeads: Nk }: AttentionConfig,
): tf.Tensor2D {
  const places = new Int32Array(B * T * 2 * Nk * 4)
  for (let row = 0; row < B * T * 2 * Nk; row++) {
    const head = row % (2 * Nk)
    const token = Math.floor(row / (2 * Nk))
    places.set([Math.floor(head / Nk), Math.floor(token / T), head % Nk, token % T], 4 * row)
  }
  return tf.tensor2d(places, [places.length / 4, 4])
}
