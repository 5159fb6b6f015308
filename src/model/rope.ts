import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../backend/fused.ts'
import type { RopeConfig } from './config.ts'

/** Cosines and signed sines of a call's positions, shared by all its layers: both [B, T, 1, n], n channels rotate. */
export interface RopeTables {
  cos: tf.Tensor4D
  sin: tf.Tensor4D
}

/**
 * Rotation frequencies of the n/2 channel pairs: `theta^(-2i/n)` (Su et al. 2021), stretched as the config asks.
 * Rounded to float32 step by step as the reference does, so that long positions agree with it.
 */
export function ropeFrequencies({ theta, scaling, rotaryDim }: RopeConfig, headDim: number): Float32Array {
  const n = rotaryDim ?? headDim
  const plain = Float32Array.from({ length: n / 2 }, (_, i) =>
    Math.fround(1 / Math.fround(theta ** ((2 * i) / n))),
  )
  switch (scaling.type) {
    case 'default':
      return plain
    case 'linear':
      return plain.map((f) => f / scaling.factor)
    case 'llama3':
      return plain.map((f) => llama3Frequency(f, scaling))
  }
}

/** Llama 3.1's stretch: long wavelengths divided by `factor`, short ones kept, a linear blend between. */
function llama3Frequency(f: number, scaling: Extract<RopeConfig['scaling'], { type: 'llama3' }>): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = scaling
  const wavelength = (2 * Math.PI) / f
  if (wavelength > originalMaxPositionEmbeddings / lowFreqFactor) return f / factor
  if (wavelength < originalMaxPositionEmbeddings / highFreqFactor) return f
  const smooth =
    (originalMaxPositionEmbeddings / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
  return ((1 - smooth) * f) / factor + smooth * f
}

/** Tables for the positions of B sequences of T tokens each (row-major [B, T]). */
export function ropeTables(positions: Int32Array, batch: number, frequencies: Float32Array): RopeTables {
  const { cos, sin } = ropeValues(positions, frequencies)
  const shape: [number, number, number, number] = [batch, positions.length / batch, 1, 2 * frequencies.length]
  return { cos: tf.tensor4d(cos, shape), sin: tf.tensor4d(sin, shape) }
}

/** The numbers of `ropeTables`, [B T, n] each. */
export function ropeValues(
  positions: Int32Array,
  frequencies: Float32Array,
): { cos: Float32Array; sin: Float32Array } {
  const half = frequencies.length
  const cos = new Float32Array(positions.length * half * 2)
  const sin = new Float32Array(cos.length)
  positions.forEach((position, row) => {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i])
      const at = row * 2 * half + i
      cos[at] = cos[at + half] = Math.cos(angle)
      sin[at + half] = Math.sin(angle)
      sin[at] = -sin[at + half] // the sign of "rotate half" lives here, so that rotating is one concat
    }
  })
  return { cos, sin }
}

/**
 * The tables spread over the heads of a fused projection, [B, T, Nq + 2 Nk, d]: queries rotate and are scaled by d^(-1/2), so
 * that scores need no scaling; keys rotate; values, and channels from n on, stay as they are.
 */
export interface HeadTables {
  cos: tf.Tensor4D
  sin: tf.Tensor4D
  /** n */
  rotaryDim: number
}

/** Rotates pairs (x_i, x_{i + n/2}) of every head as the tables say. x [B, T, Nq + 2 Nk, d]. */
export function applyRope(x: tf.Tensor4D, { cos, sin, rotaryDim: n }: HeadTables): tf.Tensor4D {
  return fused('rope', [x, cos, sin], { rotary: n }, () =>
    tf.tidy(() => {
      const still = x.shape[3] - n
      const [first, second, rest] = tf.split(x, still > 0 ? [n / 2, n / 2, still] : 2, 3)
      const swapped = tf.concat(rest ? [second, first, rest] : [second, first], 3)
      return tf.add(tf.mul(x, cos), tf.mul(swapped, sin))
    }),
  )
}
