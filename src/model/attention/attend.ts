import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../backend/backend.ts'
import { fused } from '../../backend/fused.ts'
import { LIMITS } from '../../backend/limits.ts'
import type { QueryBlock, Remembered } from './kind.ts'

/** What queries look at: keys [B, Nk, S, d] and values [B, Nk, S, v], or how many of the keys' first channels are the values. */
export interface Seen {
  keys: tf.Tensor4D
  values: tf.Tensor4D | number
}

/**
 * Scaled queries [B, T, Nq, d], block by block, over the keys that they may see -> what they make of the values, [B, T, Nq, v].
 * The G = Nq / Nk query heads that share keys are stacked as rows, so keys are never repeated. `sinks` [Nq]: a logit a query head
 * that joins the softmax and has no value.
 */
export function attend(q: tf.Tensor4D, seen: Seen, blocks: QueryBlock[], sinks?: tf.Tensor1D): tf.Tensor4D {
  if (blocks.length === 1) return attendBlock(q, seen, blocks[0], sinks)
  const sizes = blocks.map(({ tokens }) => tokens)
  const parts = tf.split<tf.Tensor4D>(q, sizes, 1)
  return tf.concat(
    parts.map((queries, i) => attendBlock(queries, seen, blocks[i], sinks)),
    1,
  )
}

function attendBlock(
  q: tf.Tensor4D,
  { keys, values }: Seen,
  { cut, mask }: QueryBlock,
  sinks?: tf.Tensor1D,
): tf.Tensor4D {
  const [B, T, numHeads, d] = q.shape
  const seenKeys = cut(keys) // [B, Nk, C, d]
  const within = typeof values === 'number'
  const seenValues = within ? seenKeys : cut(values)
  const width = within ? values : seenValues.shape[3]
  const steps = () => {
    const queries = tf.reshape(headsFirst(q), [B, keys.shape[1], -1, d]) as tf.Tensor4D // [B, Nk, G T', d]
    const raw = similarities(queries, seenKeys) // [B, Nk, G T', C]
    const scores = shares(mask ? tf.add(raw, mask) : raw, sinks)
    const own = within ? tf.split(seenValues, [width, d - width], 3)[0] : seenValues
    return headsFirst(tf.reshape(tf.matMul(scores, own), [B, numHeads, T, width]) as tf.Tensor4D)
  }
  if (!mask || sinks || (width !== d && !within)) return steps()
  return fused('attention', [q, seenKeys, seenValues, mask], { width }, steps)
}

/** Softmax of scores [B, Nk, G T, C]; with sinks also over one more logit a head, whose share is left out. */
function shares(scores: tf.Tensor, sinks?: tf.Tensor1D): tf.Tensor {
  if (!sinks) return tf.softmax(scores)
  const [, Nk, rows] = scores.shape
  const G = sinks.size / Nk
  const perRow = tf.reshape(tf.tile(tf.reshape(sinks, [Nk, G, 1]), [1, 1, rows / G]), [1, Nk, rows, 1])
  const most = tf.maximum(tf.max(scores, 3, true), perRow)
  const exps = tf.exp(tf.sub(scores, most))
  return tf.div(exps, tf.add(tf.sum(exps, 3, true), tf.exp(tf.sub(perRow, most))))
}

/** x [B, T, N, d] in parts of so many heads. Of one token these are rows, cut without a copy. */
export function splitHeads(x: tf.Tensor4D, heads: number[]): tf.Tensor4D[] {
  const [B, T, N, d] = x.shape
  if (B * T > 1) return tf.split<tf.Tensor4D>(x, heads, 2)
  const rows = tf.split<tf.Tensor2D>(tf.reshape(x, [N, d]), heads, 0)
  return rows.map((part) => tf.reshape(part, [1, 1, -1, d]) as tf.Tensor4D)
}

/** [B, T, N, d] -> [B, N, T, d], and back. Of one token, or one head, nothing has to move. */
export function headsFirst(x: tf.Tensor4D): tf.Tensor4D {
  const [B, T, N, d] = x.shape
  return T === 1 || N === 1 ? tf.reshape(x, [B, N, T, d]) : tf.transpose(x, [0, 2, 1, 3])
}

/** What tokens leave in a cache, [B, T, parts N, w], part after part, each as [B, N, T, w]. */
export function partsOf(added: tf.Tensor4D, parts: number): Remembered {
  return (parts === 1 ? [added] : tf.split<tf.Tensor4D>(added, parts, 2)).map(headsFirst)
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
