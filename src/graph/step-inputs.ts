import * as tf from '@tensorflow/tfjs-core'
import { LIMITS } from '../backend/limits.ts'
import { activeTensorflow } from '../backend/tensorflow.ts'
import { tensorflowOps } from '../backend/tensorflow-ops.ts'
import { attentionLayers } from '../model/attention/index.ts'
import type { AttentionCall, MaskShape, QueryBlock } from '../model/attention/kind.ts'
import { cutQueries, MASKED } from '../model/attention/mask.ts'
import type { LayerConfig, RopeConfig } from '../model/config.ts'
import { ropeTables, ropeValues } from '../model/rope.ts'
import { ropeFrequencies } from '../model/rope-frequencies.ts'
import { sum } from '../sums.ts'

/** B, T and S of a step: its sequences, its tokens of each, and the columns that its cache has room for. */
export interface StepSizes {
  batch: number
  tokens: number
  capacity: number
}

/** What a step is fed, as one tensor: every tensor that is fed costs as much as several small ops. */
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

/** Rotary tables that some layer asks for. */
export interface AskedRope {
  rope: RopeConfig
  headDim: number
  frequencies: Float32Array
}

/** Every rotary table that attention asks for in a call, once. */
export function ropesOf(layers: LayerConfig[]): AskedRope[] {
  const asked = new Map<string, AskedRope>()
  tf.tidy(() => {
    attentionLayers(layers, {
      batch: 1,
      length: 1,
      normEps: 0,
      rope(rope, headDim) {
        const frequencies = ropeFrequencies(rope, headDim)
        asked.set(ropeKey(rope, headDim), { rope, headDim, frequencies })
        return ropeTables(Int32Array.of(0), 1, rope, headDim)
      },
      positions: () => tf.zeros([1, 1]),
      blocks: () => [],
      cache: {
        append: () => {
          throw new Error('step inputs: no layer runs while tables are asked for')
        },
      },
    })
  })
  return [...asked.values()]
}

function ropeKey(rope: RopeConfig, headDim: number): string {
  return JSON.stringify([rope, headDim])
}

/** Numbers in a row of what is float32: with whole rows alone TensorFlow cuts without a copy. */
const ROW = 16

/** Lengths of the inputs in the order in which they stand one after the other: whole numbers, then rows of numbers of float32. */
function lengthsOf({ batch: B, tokens: T, capacity: S }: StepSizes, ropes: readonly AskedRope[]) {
  const numbers = [1, B * S, ...ropes.map(({ frequencies }) => 2 * B * T * 2 * frequencies.length)]
  return { whole: [1, B, B * T], numbers, rows: numbers.map((length) => Math.ceil(length / ROW)) }
}

export function packedLength(sizes: StepSizes, ropes: readonly AskedRope[]): number {
  const { whole, rows } = lengthsOf(sizes, ropes)
  return sum(whole) + ROW * sum(rows)
}

/** The inputs as whole numbers: those of float32 by their bits. */
export function packInputs(
  { firstColumn, lastRows, tokens, positions, columns }: StepInputs,
  sizes: StepSizes,
  ropes: readonly AskedRope[],
): Int32Array<ArrayBuffer> {
  const { whole, rows } = lengthsOf(sizes, ropes)
  const packed = new Int32Array(sum(whole) + ROW * sum(rows))
  packed[0] = firstColumn
  packed.set(lastRows, 1)
  packed.set(tokens, 1 + lastRows.length)
  const floats = new Float32Array(packed.buffer, packed.BYTES_PER_ELEMENT * sum(whole))
  floats[0] = firstColumn
  let at = ROW
  for (const [b, row] of columns.entries()) {
    const from = at + b * row.length
    for (let j = 0; j < row.length; j++) if (!row[j]) floats[from + j] = MASKED
  }
  at += ROW * rows[1]
  for (const [i, { frequencies, rope }] of ropes.entries()) {
    const { cos, sin } = ropeValues(positions, frequencies, rope)
    floats.set(cos, at)
    floats.set(sin, at + cos.length)
    at += ROW * rows[2 + i]
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

/**
 * On a card whole numbers stay in the host's memory, where TensorFlow computes with them and looks for bounds; what the card
 * reads of them, and the numbers of float32, go over in a copy each, and nothing comes back.
 */
export function unpackInputs(
  packed: tf.Tensor1D,
  sizes: StepSizes,
  ropes: readonly AskedRope[],
): UnpackedInputs {
  const { whole, numbers, rows } = lengthsOf(sizes, ropes)
  const [first, lastRows, tokens, bits] = tf.split<tf.Tensor1D>(packed, [...whole, ROW * sum(rows)])
  const floats = tf.reshape(tensorflowOps(activeTensorflow()).asFloats(bits), [-1, ROW])
  const [firstNumber, empty, ...tables] = tf.split(floats, rows, 0).map((part, i) => {
    const flat = tf.reshape(part, [part.size]) as tf.Tensor1D
    return part.size === numbers[i] ? flat : tf.slice(flat, 0, numbers[i])
  })
  const { batch, tokens: T } = sizes
  const byKey = new Map(
    ropes.map(({ rope, headDim, frequencies }, i) => {
      const shaped = tf.reshape(tables[i], [2, batch, T, 1, 2 * frequencies.length])
      return [ropeKey(rope, headDim), tf.unstack(shaped) as tf.Tensor4D[]]
    }),
  )
  return {
    tokens,
    lastRows,
    first,
    attention: {
      rope(rope, headDim) {
        const [cos, sin] = byKey.get(ropeKey(rope, headDim)) as tf.Tensor4D[]
        return { cos, sin, interleaved: rope.interleaved }
      },
      positions: () => positionsInGraph({ first, empty }, sizes),
      blocks: (shape) => blocksInGraph({ first, firstNumber, empty }, sizes, shape),
    },
  }
}

/** Which columns hold a token and where a step stands. */
export interface ColumnInputs {
  /** [1] int32: the column of the first query. */
  first: tf.Tensor1D
  /** [1] The same, float32. */
  firstNumber: tf.Tensor1D
  /** [B S] 0 where a column holds a token, `MASKED` where not. */
  empty: tf.Tensor1D
}

/**
 * `queryBlocks` as ops. Of the S columns that there is room for a block sees those up to its own, wherever the step stands:
 * how many that are is known in the graph only.
 */
export function blocksInGraph(
  { first, firstNumber, empty }: ColumnInputs,
  { batch: B, tokens: T, capacity: S }: StepSizes,
  { groups, slidingWindow, chunk }: MaskShape,
): QueryBlock[] {
  const ops = tensorflowOps(activeTensorflow())
  const window = slidingWindow !== null && slidingWindow < S ? slidingWindow : null
  const perSequence = tf.reshape(empty, [B, 1, 1, S]) as tf.Tensor4D
  const perGroup = (mask: tf.Tensor) =>
    (groups === 1 ? mask : tf.tile(mask, [1, 1, groups, 1])) as tf.Tensor4D
  const wholeRoom = <X>(x: X) => x
  if (T === 1 && window === null && !chunk) return [{ tokens: 1, cut: wholeRoom, mask: perSequence }] // later columns are empty
  const all = tf.reshape(tf.range(0, S, 1, 'float32'), [1, 1, 1, S])
  // Of each column [B, 1, 1, S], counted from a sequence's first token.
  const chunks = chunk && tf.floor(tf.div(columnPositions(empty, B), chunk))
  return cutQueries(T).map(({ from, tokens }) => {
    const own = tf.add(first, tf.scalar(from, 'int32')) as tf.Tensor1D // of the block's first query
    const begin = tf.maximum(tf.sub(own, tf.scalar((window ?? S) - 1, 'int32')), tf.scalar(0, 'int32'))
    const end = tf.add(own, tf.scalar(tokens, 'int32'))
    const cut = <X extends tf.Tensor>(x: X, axis: number) =>
      B * T <= LIMITS.fewRows ? x : ops.cutAlong(x, axis, begin as tf.Tensor1D, end as tf.Tensor1D)
    const owns = tf.reshape(tf.add(tf.range(from, from + tokens, 1, 'float32'), firstNumber), [tokens, 1])
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

/** Tokens of a sequence up to each column, [B, 1, 1, S], less one: the position of a column that holds a token. */
function columnPositions(empty: tf.Tensor1D, batch: number): tf.Tensor4D {
  const held = tf.sub(1, oneIfPositive(tf.neg(tf.reshape(empty, [batch, -1])))) // [B, S]
  const positions = tf.relu(tf.sub(tf.cumsum(held, 1), 1))
  return tf.reshape(positions, [batch, 1, 1, empty.size / batch])
}

/** Positions of a step's tokens [B, T], in a cache that has forgotten none. */
function positionsInGraph(
  { first, empty }: Pick<ColumnInputs, 'first' | 'empty'>,
  { batch: B, tokens: T }: StepSizes,
): tf.Tensor2D {
  const ops = tensorflowOps(activeTensorflow())
  const end = tf.add(first, tf.scalar(T, 'int32')) as tf.Tensor1D
  return tf.reshape(ops.cutAlong(columnPositions(empty, B), 3, first, end), [B, T])
}

/** 1 where a column's chunk [B, 1, 1, C] is before the query's own [B, 1, 1, tokens]: [B, 1, tokens, C]. */
function earlier(chunks: tf.Tensor, own: tf.Tensor): tf.Tensor {
  return oneIfPositive(tf.sub(tf.transpose(own, [0, 1, 3, 2]), chunks))
}
