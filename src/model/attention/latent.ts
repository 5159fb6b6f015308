import * as tf from '@tensorflow/tfjs-core'
import type { LatentAttention, LatentShape } from '../config.ts'
import { linear } from '../linear.ts'
import { rmsNorm } from '../norm.ts'
import { applyRope, headTables } from '../rope.ts'
import type { LatentWeights } from '../weights.ts'
import { attend, headsFirst, type Seen } from './attend.ts'
import { expands } from './facts.ts'
import type { AttentionKind } from './kind.ts'

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1). x [B T, D] -> [B T, D]. The cache holds of each token
 * the compressed keys and values and the one rotated key [Rk + r]. Few queries are brought to them (absorbed); for many it is
 * less work to expand them to keys [n + r] and values [v] of each head.
 */
export const latent: AttentionKind<LatentAttention, LatentWeights> = {
  cached: ({ keyValueRank, ropeDim }) => ({
    parts: 1,
    heads: 1,
    width: keyValueRank + ropeDim,
    slidingWindow: null,
  }),
  layers(config, { batch: B, length: T, rope, blocks: blocksOf, cache }) {
    const { numHeads: N, keyValueRank, nopeDim, ropeDim, valueDim, latentEps } = config
    const tables = headTables(rope(config.rope, ropeDim), { queries: N, keys: 1, values: 0 }, ropeDim, 1)
    const expanded = expands(config, T)
    const blocks = blocksOf({ slidingWindow: null, groups: expanded ? 1 : N })
    const attendFrom = expanded ? attendExpanded : attendAbsorbed
    return (x, weights, layer) =>
      tf.tidy(() => {
        const down = linear(x, weights.keyValueDown) // [B T, Rk + r]
        const [compressed, shared] = tf.split<tf.Tensor2D>(down, [keyValueRank, ropeDim], 1)
        const q = tf.reshape(tf.mul(queries(x, weights, latentEps), config.scale), [
          B,
          T,
          N,
          nopeDim + ropeDim,
        ])
        const [still, turning] = tf.split<tf.Tensor4D>(q as tf.Tensor4D, [nopeDim, ropeDim], 3)
        const together = tf.concat([turning, tf.reshape(shared, [B, T, 1, ropeDim])], 2) as tf.Tensor4D
        const [turned, key] = tf.split<tf.Tensor4D>(applyRope(together, tables), [N, 1], 2)
        const normed = tf.reshape(rmsNorm(compressed, weights.keyValueNorm, latentEps), [
          B,
          T,
          1,
          keyValueRank,
        ])
        const [all] = cache.append(layer, tf.concat([normed, key], 3) as tf.Tensor4D) // [B, 1, S, Rk + r]
        const [keyRows, valueRows] = tf.split<tf.Tensor2D>(weights.keyValue, [N * nopeDim, N * valueDim], 0)
        const mixed = attendFrom({ still, turned }, all, { keyRows, valueRows }, config, (query, seen) =>
          attend(query, seen, blocks),
        )
        return linear(tf.reshape(mixed, [B * T, N * valueDim]), weights.output)
      })
  },
}

function queries(x: tf.Tensor2D, { queryDown, queryNorm, query }: LatentWeights, eps: number): tf.Tensor2D {
  return linear(queryDown && queryNorm ? rmsNorm(linear(x, queryDown), queryNorm, eps) : x, query)
}

interface Queries {
  /** [B, T, N, n] */
  still: tf.Tensor4D
  /** [B, T, N, r] */
  turned: tf.Tensor4D
}

/** The heads' matrices, one above the other. */
interface Heads {
  /** [N n, Rk] */
  keyRows: tf.Tensor2D
  /** [N v, Rk] */
  valueRows: tf.Tensor2D
}

/** Over the cache's vectors all [B, 1, S, Rk + r] -> [B, T, N, v]. */
type AttendFrom = (
  queries: Queries,
  all: tf.Tensor4D,
  heads: Heads,
  shape: LatentShape,
  run: (q: tf.Tensor4D, seen: Seen) => tf.Tensor4D,
) => tf.Tensor4D

/** One key for all heads, the compressed vector itself: the heads' key matrices go to the queries, the value matrices to the result. */
const attendAbsorbed: AttendFrom = ({ still, turned }, all, { keyRows, valueRows }, shape, run) => {
  const { numHeads: N, keyValueRank } = shape
  const matrices = (rows: tf.Tensor2D) => tf.reshape(rows, [N, -1, keyValueRank]) as tf.Tensor3D
  const query = tf.concat([byHead(still, matrices(keyRows), false), turned], 3) as tf.Tensor4D // [B, T, N, Rk + r]
  return byHead(run(query, { keys: all, values: keyValueRank }), matrices(valueRows), true)
}

const attendExpanded: AttendFrom = ({ still, turned }, all, { keyRows, valueRows }, shape, run) => {
  const { numHeads: N, ropeDim, keyValueRank } = shape
  const [B, , S] = all.shape
  const [compressed, key] = tf.split<tf.Tensor4D>(all, [keyValueRank, ropeDim], 3)
  const flat = tf.reshape(compressed, [B * S, keyValueRank])
  const expand = (rows: tf.Tensor2D) =>
    headsFirst(tf.reshape(tf.matMul(flat, rows, false, true), [B, S, N, -1]) as tf.Tensor4D)
  const keys = tf.concat([expand(keyRows), tf.tile(key, [1, N, 1, 1])], 3) as tf.Tensor4D // [B, N, S, n + r]
  return run(tf.concat([still, turned], 3) as tf.Tensor4D, { keys, values: expand(valueRows) })
}

/** Rows x [B, T, N, a], each by its head's matrix [N, a, b], or [N, b, a] transposed -> [B, T, N, b]. */
function byHead(x: tf.Tensor4D, matrices: tf.Tensor3D, transposed: boolean): tf.Tensor4D {
  const [B, T, N, a] = x.shape
  const rows = tf.transpose(tf.reshape(x, [B * T, N, a]), [1, 0, 2]) // [N, B T, a]
  const product = tf.matMul(rows, matrices, false, transposed) // [N, B T, b]
  return tf.reshape(tf.transpose(product, [1, 0, 2]), [B, T, N, -1])
}
