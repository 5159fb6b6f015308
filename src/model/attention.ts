import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../backend/fused.ts'
import { LIMITS } from '../backend/limits.ts'
import type { AttentionConfig } from './config.ts'
import { linear } from './linear.ts'
import { rmsNorm } from './norm.ts'
import { applyRope, type HeadTables } from './rope.ts'
import type { AttentionWeights } from './weights.ts'

/** Large enough to vanish in a softmax, finite so that a row with nothing to see stays a number. */
export const MASKED = -1e30

/** Keys and values that a call's queries may look at, its own included. */
export interface KeysValues {
  /** [B, Nk, S, d] */
  keys: tf.Tensor4D
  /** [B, Nk, S, d] */
  values: tf.Tensor4D
}

/** Neighbouring queries and what they may look at. */
export interface QueryBlock {
  /** How many of the T queries, in each sequence. */
  tokens: number
  /** Cuts keys or values [B, Nk, S, d] to the C columns that any of them may see. */
  cut(all: tf.Tensor4D): tf.Tensor4D
  /** Added to the scores: [B or 1, 1, G tokens or 1, C] for G query heads a key-value head; null when everything is visible. */
  mask: tf.Tensor4D | null
}

/** What all layers of one call share. */
export interface AttentionContext {
  /** B */
  batch: number
  turn: HeadTables
  /** The T queries in order, cut where they may look at other columns. */
  blocks: QueryBlock[]
  /** Takes a layer's new keys and values [B, T, 2 Nk, d], keys first, and gives all that its queries may see. */
  cache: { append(layer: number, added: tf.Tensor4D): KeysValues }
  normEps: number
}

/**
 * Grouped-query attention over the cache (Ainslie et al. 2023). x [B T, D] -> [B T, D].
 * The G = Nq / Nk query heads that share keys are stacked as rows, so keys are never repeated.
 */
export function attention(
  x: tf.Tensor2D,
  weights: AttentionWeights,
  config: AttentionConfig,
  context: AttentionContext,
  layer: number,
): tf.Tensor2D {
  return tf.tidy(() => {
    const { numHeads, numKeyValueHeads, headDim } = config
    const B = context.batch
    const T = x.shape[0] / B
    const heads = numHeads + 2 * numKeyValueHeads
    const qkv = tf.reshape(linear(x, weights.qkv), [B, T, heads, headDim]) as tf.Tensor4D
    const turned = applyRope(normed(qkv, weights, config, context.normEps), context.turn)
    const [q, added] = tf.split<tf.Tensor4D>(turned, [numHeads, 2 * numKeyValueHeads], 2)
    const all = context.cache.append(layer, added)
    const mixed = inBlocks(q, context.blocks, (queries, block) => attend(queries, all, block)) // [B, T, Nq, d]
    const joined = tf.reshape(mixed, [B * T, numHeads * headDim]) as tf.Tensor2D
    return linear(joined, weights.output) // [B T, D]
  })
}

/** Neighbouring queries [B, T', Nq, d] over the keys that they may see -> what they make of the values, [B, T', Nq, d]. */
function attend(q: tf.Tensor4D, { keys, values }: KeysValues, { cut, mask }: QueryBlock): tf.Tensor4D {
  const [B, T, numHeads, headDim] = q.shape
  const [seenKeys, seenValues] = [cut(keys), cut(values)] // [B, Nk, C, d]
  const steps = () => {
    const queries = tf.reshape(headsFirst(q), [B, keys.shape[1], -1, headDim]) as tf.Tensor4D // [B, Nk, G T', d]
    const raw = similarities(queries, seenKeys) // [B, Nk, G T', C]
    const scores = tf.softmax(mask ? tf.add(raw, mask) : raw)
    return headsFirst(tf.reshape(tf.matMul(scores, seenValues), [B, numHeads, T, headDim]) as tf.Tensor4D)
  }
  return mask ? fused('attention', [q, seenKeys, seenValues, mask], {}, steps) : steps()
}

/** Runs `f` on the queries of each block and joins what it gives. q [B, T, Nq, d]. */
function inBlocks(
  q: tf.Tensor4D,
  blocks: QueryBlock[],
  f: (queries: tf.Tensor4D, block: QueryBlock) => tf.Tensor4D,
): tf.Tensor4D {
  if (blocks.length === 1) return f(q, blocks[0])
  const sizes = blocks.map(({ tokens }) => tokens)
  const parts = tf.split<tf.Tensor4D>(q, sizes, 1)
  return tf.concat(
    parts.map((queries, i) => f(queries, blocks[i])),
    1,
  )
}

/** [B, T, N, d] -> [B, N, T, d], and back. Of one token, or one head, nothing has to move. */
export function headsFirst(x: tf.Tensor4D): tf.Tensor4D {
  const [B, T, N, d] = x.shape
  return T === 1 || N === 1 ? tf.reshape(x, [B, N, T, d]) : tf.transpose(x, [0, 2, 1, 3])
}

/** Keys and values [B, T, 2 Nk, d], keys first, each as [B, Nk, T, d]. */
export function keysAndValues(added: tf.Tensor4D): KeysValues {
  const [keys, values] = tf.split<tf.Tensor4D>(added, 2, 2).map(headsFirst)
  return { keys, values }
}

/** q k^T for queries [B, Nk, rows, d] and keys [B, Nk, S, d] -> [B, Nk, rows, S]. */
function similarities(queries: tf.Tensor4D, keys: tf.Tensor4D): tf.Tensor {
  const [, , rows, d] = queries.shape
  const small = rows * d * keys.shape[2] < LIMITS.slowStack
  if (rows === 1 || rows > LIMITS.keysFirstRows || small) return tf.matMul(queries, keys, false, true)
  // The other way round the large operand need not be transposed, which TensorFlow does very slowly for few rows.
  return tf.transpose(tf.matMul(keys, queries, false, true), [0, 1, 3, 2])
}

/** Queries and keys are normed where the family does it. qkv [B, T, Nq + 2 Nk, d]. */
function normed(
  qkv: tf.Tensor4D,
  { qkNorm }: AttentionWeights,
  { numHeads, numKeyValueHeads }: AttentionConfig,
  eps: number,
): tf.Tensor4D {
  if (!qkNorm) return qkv
  const [q, k, v] = tf.split<tf.Tensor4D>(qkv, [numHeads, numKeyValueHeads, numKeyValueHeads], 2)
  return tf.concat([rmsNorm(q, qkNorm.query, eps), rmsNorm(k, qkNorm.key, eps), v], 2)
}

/** Where each block of T queries starts, and how many it has. */
export function cutQueries(
  T: number,
  blockTokens: number = LIMITS.blockQueries,
): { from: number; tokens: number }[] {
  return Array.from({ length: Math.ceil(T / blockTokens) }, (_, i) => {
    const from = i * blockTokens
    return { from, tokens: Math.min(blockTokens, T - from) }
  })
}

/** The columns `begin` to before `end` of S that each block of the last T queries may look at. */
function columnsOfBlocks(
  S: number,
  T: number,
  { slidingWindow }: Pick<AttentionConfig, 'slidingWindow'>,
  blockTokens?: number,
): { tokens: number; begin: number; end: number }[] {
  return cutQueries(T, blockTokens).map(({ from, tokens }) => {
    const own = S - T + from
    return { tokens, begin: Math.max(0, own + 1 - (slidingWindow ?? S)), end: own + tokens }
  })
}

/** Columns that a query of a prompt of T tokens meets on average: its block's, from an empty cache. */
export function meanColumnsMet(T: number, config: Pick<AttentionConfig, 'slidingWindow'>): number {
  const met = columnsOfBlocks(T, T, config).map(({ tokens, begin, end }) => tokens * (end - begin))
  return met.reduce((a, b) => a + b, 0) / T
}

/** T new queries, the last T of the columns given for each sequence (1 = token, 0 = padding), block by block. */
export function queryBlocks(
  columns: Uint8Array[],
  T: number,
  config: AttentionConfig,
  blockTokens?: number,
): QueryBlock[] {
  const S = columns[0].length
  return columnsOfBlocks(S, T, config, blockTokens).map(({ tokens, begin, end }) => {
    const seen = columns.map((row) => row.subarray(begin, end))
    const cut = (all: tf.Tensor4D): tf.Tensor4D => {
      const [B, N, , d] = all.shape
      return end - begin === S ? all : tf.slice(all, [0, 0, begin, 0], [B, N, end - begin, d])
    }
    return { tokens, cut, mask: attentionMask(seen, tokens, config) }
  })
}

/**
 * The mask of T new queries over the S columns of each sequence (1 = token, 0 = padding); the last T columns are the
 * queries' own. Null when nothing is hidden.
 */
function attentionMask(
  columns: Uint8Array[],
  newTokens: number,
  config: AttentionConfig,
): tf.Tensor4D | null {
  const S = columns[0].length
  const padded = columns.some((row) => row.includes(0))
  if (!padded && newTokens === 1 && S <= (config.slidingWindow ?? S)) return null
  const sequences = padded ? columns : columns.slice(0, 1)
  const values = maskValues(sequences, S - newTokens, newTokens, config)
  return tf.tensor4d(values, [sequences.length, 1, values.length / (sequences.length * S), S])
}

/**
 * Mask values [B, 1, G T, S] for T queries whose own columns start at `first`: the query at column c sees column j when
 * `c - W < j <= c` and j holds a token.
 */
function maskValues(
  columns: Uint8Array[],
  first: number,
  T: number,
  { numHeads, numKeyValueHeads, slidingWindow }: AttentionConfig,
): Float32Array {
  const S = columns[0].length
  const window = slidingWindow ?? Number.POSITIVE_INFINITY
  const groups = numHeads / numKeyValueHeads
  const mask = new Float32Array(columns.length * groups * T * S)
  columns.forEach((row, b) => {
    for (let t = 0; t < T; t++) {
      const own = first + t
      const line = mask.subarray((b * groups * T + t) * S, (b * groups * T + t + 1) * S)
      for (let j = 0; j < S; j++) if (j > own || j <= own - window || !row[j]) line[j] = MASKED
      for (let g = 1; g < groups; g++) mask.set(line, ((b * groups + g) * T + t) * S)
    }
  })
  return mask
}
