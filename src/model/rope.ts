import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../backend/fused.ts'
import type { RopeConfig } from './config.ts'
import { ropeFrequencies } from './rope-frequencies.ts'

/** Cosines and signed sines of a call's positions, shared by all its layers: both [B, T, 1, n], n channels rotate. */
export interface RopeTables {
  cos: tf.Tensor4D
  sin: tf.Tensor4D
  /** Pairs are neighbours. */
  interleaved?: boolean
}

/** Tables for the positions of B sequences of T tokens each (row-major [B, T]). */
export function ropeTables(
  positions: Int32Array,
  batch: number,
  rope: RopeConfig,
  headDim: number,
): RopeTables {
  const frequencies = ropeFrequencies(rope, headDim)
  const { cos, sin } = ropeValues(positions, frequencies, rope)
  const shape: [number, number, number, number] = [batch, positions.length / batch, 1, 2 * frequencies.length]
  return { cos: tf.tensor4d(cos, shape), sin: tf.tensor4d(sin, shape), interleaved: rope.interleaved }
}

/** The numbers of `ropeTables`, [B T, n] each. */
export function ropeValues(
  positions: Int32Array,
  frequencies: Float32Array,
  { interleaved, magnitude = 1 }: Pick<RopeConfig, 'interleaved' | 'magnitude'>,
): { cos: Float32Array; sin: Float32Array } {
  const half = frequencies.length
  const cos = new Float32Array(positions.length * half * 2)
  const sin = new Float32Array(cos.length)
  positions.forEach((position, row) => {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i])
      const first = row * 2 * half + (interleaved ? 2 * i : i)
      const second = interleaved ? first + 1 : first + half
      cos[first] = cos[second] = magnitude * Math.cos(angle)
      sin[second] = magnitude * Math.sin(angle)
      sin[first] = -sin[second] // the sign lives here, so that rotating is one swap
    }
  })
  return { cos, sin }
}

/** Tables for N heads of width d: [B, T, N or 1, d]. Channels from n on stay as they are, or are only scaled. */
export interface HeadTables extends RopeTables {
  /** n */
  rotaryDim: number
}

/**
 * The tables spread over the heads of a projection, [B, T, queries + keys + values, d]: queries rotate and are scaled, so that
 * scores need no scaling; keys rotate; values, and channels from n on, stay as they are. Once a call; layers of one description
 * share them.
 */
export function headTables(
  { cos, sin, interleaved }: RopeTables,
  { queries, keys, values }: { queries: number; keys: number; values: number },
  headDim: number,
  scale: number,
): HeadTables {
  return tf.tidy(() => {
    const n = cos.shape[3]
    const still = headDim - n
    const [B, T] = cos.shape
    const wide = (rotating: tf.Tensor4D, rest: number): tf.Tensor4D =>
      still > 0 ? tf.concat([rotating, tf.fill([B, T, 1, still], rest)], 3) : rotating
    const perHead = (query: number, key: number, value: number) =>
      tf.tensor2d(
        [...new Array(queries).fill(query), ...new Array(keys).fill(key), ...new Array(values).fill(value)],
        [queries + keys + values, 1],
      )
    const factors = perHead(scale, 1, 0)
    const cosines = tf.mul(wide(cos, 1), factors) // [B, T, N, d]
    return {
      cos: tf.add<tf.Tensor4D>(cosines, perHead(0, 0, 1)),
      sin: tf.mul<tf.Tensor4D>(wide(sin, 0), factors),
      rotaryDim: n,
      interleaved,
    }
  })
}

/** Rotates pairs of every head as the tables say: (x_i, x_{i + n/2}), or (x_2i, x_2i+1). x [B, T, N, d]. */
export function applyRope(x: tf.Tensor4D, tables: HeadTables): tf.Tensor4D {
  const { cos, sin, rotaryDim: n, interleaved } = tables
  const steps = () =>
    tf.tidy(() =>
      tf.add<tf.Tensor4D>(
        tf.mul(x, cos),
        tf.mul(interleaved ? swappedPairs(x, n) : swappedHalves(x, n), sin),
      ),
    )
  return interleaved ? steps() : fused('rope', [x, cos, sin], { rotary: n }, steps)
}

function swappedHalves(x: tf.Tensor4D, n: number): tf.Tensor4D {
  const still = x.shape[3] - n
  const [first, second, rest] = tf.split<tf.Tensor4D>(x, still > 0 ? [n / 2, n / 2, still] : 2, 3)
  return tf.concat<tf.Tensor4D>(rest ? [second, first, rest] : [second, first], 3)
}

/** All channels rotate. */
function swappedPairs(x: tf.Tensor4D, n: number): tf.Tensor4D {
  const [first, second] = tf.split(tf.reshape(x, [-1, n / 2, 2]), 2, 2)
  return tf.reshape(tf.concat([second, first], 2), x.shape)
}
