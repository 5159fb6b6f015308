import * as tf from '@tensorflow/tfjs-core'
import { LIMITS } from '../backend/limits.ts'
import { activeTensorflow } from '../backend/tensorflow.ts'
import { tensorflowOps } from '../backend/tensorflow-ops.ts'
import type { AttentionCall, MaskShape, QueryBlock } from '../model/attention/kind.ts'
import { cutQueries, MASKED } from '../model/attention/mask.ts'
import type { RopeConfig } from '../model/config.ts'
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
  /** [1] the column of each sequence's first query. */
  first: tf.Tensor1D
  attention: Pick<AttentionCall, 'rope' | 'blocks'>
}

export function unpackInputs(packed: tf.Tensor1D, sizes: StepSizes): UnpackedInputs {
  const [first, lastRows, tokens, positions, columns] = tf.split<tf.Tensor1D>(packed, lengthsOf(sizes))
  return {
    tokens,
    lastRows,
    first,
    attention: {
      rope: (rope, headDim) => ropeInGraph(positions, sizes, rope, headDim),
      blocks: (shape) => blocksInGraph(first, columns, sizes, shape),
    },
  }
}

/** `ropeTables` as ops. positions [B T]. */
export function ropeInGraph(
  positions: tf.Tensor1D,
  { batch, tokens }: StepSizes,
  rope: RopeConfig,
  headDim: number,
): RopeTables {
  const frequencies = tf.tensor1d(ropeFrequencies(rope, headDim)) // [n/2]
  const angles = tf.mul(tf.expandDims(tf.cast(positions, 'float32'), 1), frequencies) // [B T, n/2]
  const [cos, sin] = [tf.cos(angles), tf.sin(angles)]
  const shape: [number, number, number, number] = [batch, tokens, 1, 2 * frequencies.size]
  return {
    cos: tf.reshape(tf.concat([cos, cos], 1), shape),
    sin: tf.reshape(tf.concat([tf.neg(sin), sin], 1), shape),
  }
}

/**
 * `queryBlocks` as ops. Of the S columns that there is room for a block sees those up to its own, wherever the step stands:
 * how many that are is known in the graph only. first [1] is the column of the first query, columns [B S] say which hold a
 * token.
 */
export function blocksInGraph(
  first: tf.Tensor1D,
  columns: tf.Tensor1D,
  { batch: B, tokens: T, capacity: S }: StepSizes,
  { groups, slidingWindow }: MaskShape,
): QueryBlock[] {
  const ops = tensorflowOps(activeTensorflow())
  const window = slidingWindow !== null && slidingWindow < S ? slidingWindow : null
  const empty = tf.mul(tf.sub(tf.cast(columns, 'float32'), 1), -MASKED)
  const perSequence = tf.reshape(empty, [B, 1, 1, S]) as tf.Tensor4D
  const perGroup = (mask: tf.Tensor) => tf.tile(mask, [1, 1, groups, 1]) as tf.Tensor4D
  const wholeRoom = <X>(x: X) => x
  if (T === 1 && window === null) return [{ tokens: 1, cut: wholeRoom, mask: perSequence }] // later columns are empty
  const all = tf.reshape(tf.range(0, S, 1, 'float32'), [1, 1, 1, S])
  return cutQueries(T).map(({ from, tokens }) => {
    const own = tf.add(first, tf.scalar(from, 'int32')) as tf.Tensor1D // of the block's first query
    const begin = tf.maximum(tf.sub(own, tf.scalar((window ?? S) - 1, 'int32')), tf.scalar(0, 'int32'))
    const end = tf.add(own, tf.scalar(tokens, 'int32'))
    const cut = <X extends tf.Tensor>(x: X, axis: number) =>
      B * T <= LIMITS.fewRows ? x : ops.cutAlong(x, axis, begin as tf.Tensor1D, end as tf.Tensor1D)
    const owns = tf.reshape(tf.add(tf.range(0, tokens, 1, 'float32'), tf.cast(own, 'float32')), [tokens, 1])
    const ahead = tf.sub(cut(all, 3), owns) // [1, 1, tokens, C]
    const later = oneIfPositive(ahead)
    const hidden = window === null ? later : tf.maximum(later, oneIfPositive(tf.sub(1 - window, ahead)))
    const mask = perGroup(tf.minimum(tf.mul(hidden, MASKED), cut(perSequence, 3)))
    return { tokens, cut: (keysOrValues) => cut(keysOrValues, 2), mask }
  })
}

/** 1 where a whole number is positive, else 0; comparing and casting take TensorFlow ten times as long. */
function oneIfPositive(x: tf.Tensor): tf.Tensor {
  return tf.minimum(tf.relu(x), 1)
}
