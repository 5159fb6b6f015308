import * as tf from '@tensorflow/tfjs-core'
import { LIMITS } from '../../backend/limits.ts'
import type { MaskShape, QueryBlock } from './kind.ts'

/** Large enough to vanish in a softmax, finite so that a row with nothing to see stays a number. */
export const MASKED = -1e30

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
  { slidingWindow }: Pick<MaskShape, 'slidingWindow'>,
  blockTokens?: number,
): { tokens: number; begin: number; end: number }[] {
  return cutQueries(T, blockTokens).map(({ from, tokens }) => {
    const own = S - T + from
    return { tokens, begin: Math.max(0, own + 1 - (slidingWindow ?? S)), end: own + tokens }
  })
}

/** Columns that a query of a prompt of T tokens meets on average: its block's, from an empty cache. */
export function meanColumnsMet(T: number, shape: Pick<MaskShape, 'slidingWindow'>): number {
  const met = columnsOfBlocks(T, T, shape).map(({ tokens, begin, end }) => tokens * (end - begin))
  return met.reduce((a, b) => a + b, 0) / T
}

/** T new queries, the last T of the columns given for each sequence (1 = token, 0 = padding), block by block. */
export function queryBlocks(
  columns: Uint8Array[],
  T: number,
  shape: MaskShape,
  blockTokens?: number,
): QueryBlock[] {
  const S = columns[0].length
  const chunks = columns.map((row) => chunksOf(row, shape.chunk))
  return columnsOfBlocks(S, T, shape, blockTokens).map(({ tokens, begin, end }) => {
    const seen = chunks.map((row) => row.subarray(begin, end))
    const cut = (all: tf.Tensor4D): tf.Tensor4D => {
      const [B, N, , d] = all.shape
      return end - begin === S ? all : tf.slice(all, [0, 0, begin, 0], [B, N, end - begin, d])
    }
    return { tokens, cut, mask: attentionMask(seen, tokens, shape) }
  })
}

/**
 * The mask of T new queries over the S columns of each sequence, by their chunks; the last T columns are the queries' own. Null
 * when nothing is hidden.
 */
function attentionMask(columns: Chunks[], newTokens: number, shape: MaskShape): tf.Tensor4D | null {
  const S = columns[0].length
  const padded = columns.some((row) => row.includes(0))
  if (!padded && newTokens === 1 && S <= (shape.slidingWindow ?? S) && !shape.chunk) return null
  const sequences = padded ? columns : columns.slice(0, 1)
  const values = maskValues(sequences, S - newTokens, newTokens, shape)
  return tf.tensor4d(values, [sequences.length, 1, values.length / (sequences.length * S), S])
}

/**
 * Mask values [B, 1, G T, S] for T queries whose own columns start at `first`: the query at column c sees column j when
 * `c - W < j <= c`, both are of one chunk, and j holds a token.
 */
function maskValues(
  columns: Chunks[],
  first: number,
  T: number,
  { groups, slidingWindow }: MaskShape,
): Float32Array {
  const S = columns[0].length
  const window = slidingWindow ?? Number.POSITIVE_INFINITY
  const mask = new Float32Array(columns.length * groups * T * S)
  columns.forEach((row, b) => {
    for (let t = 0; t < T; t++) {
      const own = first + t
      const line = mask.subarray((b * groups * T + t) * S, (b * groups * T + t + 1) * S)
      for (let j = 0; j < S; j++)
        if (j > own || j <= own - window || !row[j] || row[j] < row[own]) line[j] = MASKED
      for (let g = 1; g < groups; g++) mask.set(line, ((b * groups + g) * T + t) * S)
    }
  })
  return mask
}

/** The chunk of each column, counted from 1 and a sequence's first token; 0 for padding. */
type Chunks = Uint8Array | Int32Array

function chunksOf(row: Uint8Array, chunk?: number): Chunks {
  if (!chunk) return row // all of one
  let tokens = 0
  return Int32Array.from(row, (real) => {
    tokens += real
    return real && Math.ceil(tokens / chunk)
  })
}
