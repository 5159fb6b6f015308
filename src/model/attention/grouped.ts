import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../backend/backend.ts'
import { fused } from '../../backend/fused.ts'
import { LIMITS } from '../../backend/limits.ts'
import type { GroupedAttention } from '../config.ts'
import { linear } from '../linear.ts'
import { rmsNorm } from '../norm.ts'
import { applyRope, type HeadTables, type RopeTables } from '../rope.ts'
import type { AttentionWeights } from '../weights.ts'
import type { AttentionKind, KeysValues, QueryBlock } from './kind.ts'

/**
 * Grouped-query attention over the cache (Ainslie et al. 2023). x [B T, D] -> [B T, D].
 * The G = Nq / Nk query heads that share keys are stacked as rows, so keys are never repeated.
 */
export const grouped: AttentionKind<GroupedAttention> = {
  cached: ({ numKeyValueHeads, headDim, slidingWindow }) => ({ numKeyValueHeads, headDim, slidingWindow }),
  layers(config, { batch: B, normEps, rope, blocks: blocksOf, cache }) {
    const { numHeads, numKeyValueHeads, headDim, slidingWindow } = config
    const turn = headTables(rope(config.rope, headDim), config)
    const blocks = blocksOf({ slidingWindow, groups: numHeads / numKeyValueHeads })
    return (x, weights, layer) =>
      tf.tidy(() => {
        const T = x.shape[0] / B
        const heads = numHeads + 2 * numKeyValueHeads
        const qkv = tf.reshape(linear(x, weights.qkv), [B, T, heads, headDim]) as tf.Tensor4D
        const turned = applyRope(normed(qkv, weights, config, normEps), turn)
        const [q, added] = splitHeads(turned, [numHeads, 2 * numKeyValueHeads])
        const all = cache.append(layer, added)
        const mixed = inBlocks(q, blocks, (queries, block) => attend(queries, all, block)) // [B, T, Nq, d]
        const joined = tf.reshape(mixed, [B * T, numHeads * headDim]) as tf.Tensor2D
        return linear(joined, weights.output) // [B T, D]
      })
  },
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

/** x [B, T, N, d] in parts of so many heads. Of one token these are rows, cut without a copy. */
function splitHeads(x: tf.Tensor4D, heads: number[]): tf.Tensor4D[] {
  const [B, T, N, d] = x.shape
  if (B * T > 1) return tf.split<tf.Tensor4D>(x, heads, 2)
  const rows = tf.split<tf.Tensor2D>(tf.reshape(x, [N, d]), heads, 0)
  return rows.map((part) => tf.reshape(part, [1, 1, -1, d]) as tf.Tensor4D)
}

/** [B, T, N, d] -> [B, N, T, d], and back. Of one token, or one head, nothing has to move. */
function headsFirst(x: tf.Tensor4D): tf.Tensor4D {
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
  if (rows === 1 || rows > LIMITS.keysFirstRows || small || backend().onCard)
    return tf.matMul(queries, keys, false, true)
  // The other way round the large operand need not be transposed, which a processor does very slowly for few rows.
  return tf.transpose(tf.matMul(keys, queries, false, true), [0, 1, 3, 2])
}

/** Queries and keys are normed where the family does it. qkv [B, T, Nq + 2 Nk, d]. */
function normed(
  qkv: tf.Tensor4D,
  { qkNorm }: AttentionWeights,
  { numHeads, numKeyValueHeads }: GroupedAttention,
  eps: number,
): tf.Tensor4D {
  if (!qkNorm) return qkv
  const [q, k, v] = tf.split<tf.Tensor4D>(qkv, [numHeads, numKeyValueHeads, numKeyValueHeads], 2)
  return tf.concat([rmsNorm(q, qkNorm.query, eps), rmsNorm(k, qkNorm.key, eps), v], 2)
}

/** Once a call; layers of one description share them. */
function headTables(
  { cos, sin }: RopeTables,
  {
    numHeads,
    numKeyValueHeads,
    headDim,
  }: Pick<GroupedAttention, 'numHeads' | 'numKeyValueHeads' | 'headDim'>,
): HeadTables {
  return tf.tidy(() => {
    const n = cos.shape[3]
    const still = headDim - n
    const [B, T] = cos.shape
    const wide = (rotating: tf.Tensor4D, rest: number): tf.Tensor4D =>
      still > 0 ? tf.concat([rotating, tf.fill([B, T, 1, still], rest)], 3) : rotating
    const perHead = (query: number, key: number, value: number) =>
      tf.tensor2d(
        [
          ...new Array(numHeads).fill(query),
          ...new Array(numKeyValueHeads).fill(key),
          ...new Array(numKeyValueHeads).fill(value),
        ],
        [numHeads + 2 * numKeyValueHeads, 1],
      )
    const scale = perHead(headDim ** -0.5, 1, 0)
    const cosines = tf.mul(wide(cos, 1), scale) // [B, T, Nq + 2 Nk, d]
    return {
      cos: tf.add<tf.Tensor4D>(cosines, perHead(0, 0, 1)),
      sin: tf.mul<tf.Tensor4D>(wide(sin, 0), scale),
      rotaryDim: n,
    }
  })
}
