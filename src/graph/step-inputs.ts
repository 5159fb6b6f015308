import * as tf from '@tensorflow/tfjs-core'
import { LIMITS } from '../backend/limits.ts'
import { activeTensorflow } from '../backend/tensorflow.ts'
import { tensorflowOps } from '../backend/tensorflow-ops.ts'
import type { AttentionCall, MaskShape, QueryBlock } from '../model/attention/kind.ts'
import { cutQueries, MASKED } from '../model/attention/mask.ts'
import type { RopeConfig } from '../model/config.ts'
import type { RopeTables } from '../model/rope.ts'
import { ropeFrequencies } from '../model/rope-frequencies.ts'

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
  attention: Pick<AttentionCall, 'rope' | 'positions' | 'blocks'>
}

export function unpackInputs(packed: tf.Tensor1D, sizes: StepSizes): UnpackedInputs {
  const [first, lastRows, tokens, positions, columns] = tf.split<tf.Tensor1D>(packed, lengthsOf(sizes))
  return {
    tokens,
    lastRows,
    first,
    attention: {
      rope: (rope, headDim) => ropeInGraph(positions, sizes, rope, headDim),
      positions: () => tf.reshape(tf.cast(positions, 'float32'), [sizes.batch, sizes.tokens]),
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
  const { interleaved = false, magnitude = 1 } = rope
  const times = (x: tf.Tensor) => (magnitude === 1 ? x : tf.mul(x, magnitude))
  const [cos, sin] = [times(tf.cos(angles)), times(tf.sin(angles))]
  const shape: [number, number, number, number] = [batch, tokens, 1, 2 * frequencies.size]
  const both = (first: tf.Tensor, second: tf.Tensor): tf.Tensor4D =>
    tf.reshape(interleaved ? tf.stack([first, second], 2) : tf.concat([first, second], 1), shape)
  return { cos: both(cos, cos), sin: both(tf.neg(sin), sin), interleaved }
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
  { groups, slidingWindow, chunk }: MaskShape,
): QueryBlock[] {
  const ops = tensorflowOps(activeTensorflow())
  const window = slidingWindow !== null && slidingWindow < S ? slidingWindow : null
  const empty = tf.mul(tf.sub(tf.cast(columns, 'float32'), 1), -MASKED)
  const perSequence = tf.reshape(empty, [B, 1, 1, S]) as tf.Tensor4D
  const perGroup = (mask: tf.Tensor) => tf.tile(mask, [1, 1, groups, 1]) as tf.Tensor4D
  const wholeRoom = <X>(x: X) => x
  if (T === 1 && window === null && !chunk) return [{ tokens: 1, cut: wholeRoom, mask: perSequence }] // later columns are empty
  const all = tf.reshape(tf.range(0, S, 1, 'float32'), [1, 1, 1, S])
  const chunks = chunk && chunksInGraph(tf.reshape(tf.cast(columns, 'float32'), [B, S]), chunk)
  return cutQueries(T).map(({ from, tokens }) => {
    const own = tf.add(first, tf.scalar(from, 'int32')) as tf.Tensor1D // of the block's first query
    const begin = tf.maximum(tf.sub(own, tf.scalar((window ?? S) - 1, 'int32')), tf.scalar(0, 'int32'))
    const end = tf.add(own, tf.scalar(tokens, 'int32'))
    const cut = <X extends tf.Tensor>(x: X, axis: number) =>
      B * T <= LIMITS.fewRows ? x : ops.cutAlong(x, axis, begin as tf.Tensor1D, end as tf.Tensor1D)
    const owns = tf.reshape(tf.add(tf.range(0, tokens, 1, 'float32'), tf.cast(own, 'float32')), [tokens, 1])
    const ahead = tf.sub(cut(all, 3), owns) // [1, 1, tokens, C]
    const later = oneIfPositive(ahead)
    const near = window === null ? later : tf.maximum(later, oneIfPositive(tf.sub(1 - window, ahead)))
    const hidden = chunks
      ? tf.maximum(near, earlier(cut(chunks, 3), ops.cutAlong(chunks, 3, own, end as tf.Tensor1D)))
      : near
    const mask = perGroup(tf.minimum(tf.mul(hidden, MASKED), cut(perSequence, 3)))
    return { tokens, cut: (keysOrValues) => cut(keysOrValues, 2), mask }
  })
}

/** 1 where a whole number is positive, else 0; comparing and casting take TensorFlow ten times as long. */
function oneIfPositive(x: tf.Tensor): tf.Tensor {
  return tf.minimum(tf.relu(x), 1)
}

/** The chunk of each column [B, 1, 1, S], counted from a sequence's first token; columns [B, S] are 1 where they hold one. */
function chunksInGraph(columns: tf.Tensor, chunk: number): tf.Tensor4D {
  const [B, S] = columns.shape
  const positions = tf.relu(tf.sub(tf.cumsum(columns, 1), 1))
  return tf.reshape(tf.floor(tf.div(positions, chunk)), [B, 1, 1, S])
}

/** 1 where a column's chunk [B, 1, 1, C] is before the query's own [B, 1, 1, tokens]: [B, 1, tokens, C]. */
function earlier(chunks: tf.Tensor, own: tf.Tensor): tf.Tensor {
  return oneIfPositive(tf.sub(tf.transpose(own, [0, 1, 3, 2]), chunks))
}
