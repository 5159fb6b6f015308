import * as tf from '@tensorflow/tfjs-core'
import type { GroupedAttention } from '../config.ts'
import { linear } from '../linear.ts'
import { rmsNorm } from '../norm.ts'
import { applyRope, headTables } from '../rope.ts'
import type { GroupedWeights } from '../weights.ts'
import { attend, splitHeads } from './attend.ts'
import type { AttentionCall, AttentionKind } from './kind.ts'

/** Grouped-query attention over the cache (Ainslie et al. 2023). x [B T, D] -> [B T, D]. */
export const grouped: AttentionKind<GroupedAttention, GroupedWeights> = {
  cached: ({ numKeyValueHeads, headDim, slidingWindow }) => ({
    parts: 2,
    heads: numKeyValueHeads,
    width: headDim,
    slidingWindow,
  }),
  layers(config, call) {
    const { batch: B, normEps, cache } = call
    const { numHeads, numKeyValueHeads, headDim, slidingWindow, chunk } = config
    const turn = turning(config, call)
    const blocks = call.blocks({ slidingWindow, chunk, groups: numHeads / numKeyValueHeads })
    return (x, weights, layer) =>
      tf.tidy(() => {
        const T = x.shape[0] / B
        const heads = numHeads + 2 * numKeyValueHeads
        const qkv = tf.reshape(linear(x, weights.qkv), [B, T, heads, headDim]) as tf.Tensor4D
        const turned = turn(clipped(normed(qkv, weights, config, normEps), config))
        const [q, added] = splitHeads(turned, [numHeads, 2 * numKeyValueHeads])
        const [keys, values] = cache.append(layer, added)
        const mixed = attend(q, { keys, values }, blocks, weights.sinks) // [B, T, Nq, d]
        const joined = tf.reshape(mixed, [B * T, numHeads * headDim]) as tf.Tensor2D
        return linear(joined, weights.output) // [B T, D]
      })
  },
}

/** Queries and keys are normed where the family does it. qkv [B, T, Nq + 2 Nk, d]. */
function normed(
  qkv: tf.Tensor4D,
  { qkNorm }: GroupedWeights,
  config: GroupedAttention,
  eps: number,
): tf.Tensor4D {
  if (!qkNorm) return qkv
  return queriesAndKeys(qkv, config, (x, which) => {
    if (config.qkNorm === 'per-head') return rmsNorm(x, qkNorm[which], eps)
    const [B, T] = x.shape
    return tf.reshape(rmsNorm(tf.reshape(x, [B, T, -1]), qkNorm[which], eps), x.shape)
  })
}

function clipped(qkv: tf.Tensor4D, { clip }: GroupedAttention): tf.Tensor4D {
  return clip === undefined ? qkv : tf.maximum(tf.minimum(qkv, clip), -clip)
}

/** Rotates queries and keys and scales queries, for all layers of a description: [B, T, Nq + 2 Nk, d] -> the same. */
function turning(config: GroupedAttention, call: AttentionCall): (qkv: tf.Tensor4D) => tf.Tensor4D {
  const { rope, unitNorm, headDim, scale = headDim ** -0.5 } = config
  const heads = { queries: config.numHeads, keys: config.numKeyValueHeads, values: config.numKeyValueHeads }
  if (!rope) {
    const factors = queryFactors(config, scale, call)
    return (qkv) => queriesAndKeys(qkv, config, (x, which) => (which === 'query' ? tf.mul(x, factors) : x))
  }
  const tables = headTables(call.rope(rope, headDim), heads, headDim, unitNorm === undefined ? scale : 1)
  if (unitNorm === undefined) return (qkv) => applyRope(qkv, tables)
  const ones = tf.ones<tf.Rank.R1>([headDim])
  return (qkv) =>
    queriesAndKeys(applyRope(qkv, tables), config, (x, which) => {
      const unit = rmsNorm(x, ones, unitNorm)
      return which === 'query' ? tf.mul(unit, scale) : unit
    })
}

/** What queries are multiplied by where nothing rotates: [B or 1, T or 1, 1, 1]. */
function queryFactors({ temperature }: GroupedAttention, scale: number, call: AttentionCall): tf.Tensor4D {
  if (!temperature) return tf.fill([1, 1, 1, 1], scale)
  return tf.tidy(() => {
    const { every, scale: strength } = temperature
    const positions = call.positions() // [B, T]
    const grown = tf.log(tf.add(tf.floor(tf.div(tf.add(positions, 1), every)), 1))
    return tf.reshape(tf.mul(tf.add(tf.mul(grown, strength), 1), scale), [...positions.shape, 1, 1])
  })
}

/** Runs `f` on the queries and on the keys of qkv [B, T, Nq + 2 Nk, d]. */
function queriesAndKeys(
  qkv: tf.Tensor4D,
  { numHeads, numKeyValueHeads }: GroupedAttention,
  f: (x: tf.Tensor4D, which: 'query' | 'key') => tf.Tensor4D,
): tf.Tensor4D {
  const [q, k, v] = tf.split<tf.Tensor4D>(qkv, [numHeads, numKeyValueHeads, numKeyValueHeads], 2)
  return tf.concat([f(q, 'query'), f(k, 'key'), v], 2)
}
