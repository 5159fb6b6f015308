import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { grouped } from '../../src/model/attention/grouped.ts'
import { queryBlocks } from '../../src/model/attention/mask.ts'
import type { GroupedAttention } from '../../src/model/config.ts'
import { KvCache } from '../../src/model/kv-cache.ts'
import { rmsNorm } from '../../src/model/norm.ts'
import { ropeTables } from '../../src/model/rope.ts'
import { ropeFrequencies } from '../../src/model/rope-frequencies.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'
import {
  attentionReference,
  type Matrix,
  rmsNormReference,
  ropeReference,
  rowTimes,
} from '../helpers/reference.ts'

const THETA = 500

describe.each(['cpu', 'js'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await startRuntime({ device })
  })

  test('attention equals its definition for random heads, widths and windows', () => {
    const shapes = fc.record({
      kvHeads: fc.integer({ min: 1, max: 3 }),
      groups: fc.integer({ min: 1, max: 3 }),
      headDim: fc.constantFrom(2, 4, 6),
      T: fc.integer({ min: 1, max: 9 }),
      window: fc.option(fc.integer({ min: 1, max: 6 })),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(shapes, ({ kvHeads, groups, headDim, T, window, seed }) => {
        const config = groupedAttention({
          numHeads: kvHeads * groups,
          numKeyValueHeads: kvHeads,
          headDim,
          slidingWindow: window,
          rope: { theta: THETA, scaling: { type: 'default' } },
        })
        const { x, qkv, output } = randomAttention(config, T, seed)
        const expected = definition(x, qkv, output, config).flat()
        for (const blockTokens of [1, 2, 3, T]) {
          expect(maxDifference(fast(x, qkv, output, config, blockTokens), expected)).toBeLessThan(2e-5)
        }
      }),
      { numRuns: 40 },
    )
  })

  test('RMSNorm equals its definition', () => {
    const next = randomNumbers(4)
    const x = randomMatrix(5, 7, next, 3)
    const [weight] = randomMatrix(1, 7, next)
    const expected = x.flatMap((row) => rmsNormReference(row, weight, 1e-5))
    const actual = tf.tidy(() => rmsNorm(tf.tensor2d(x), tf.tensor1d(weight), 1e-5).dataSync())
    expect(maxDifference(actual, expected)).toBeLessThan(1e-5)
  })
})

test('llama3 scaling keeps short wavelengths, divides long ones, blends between', () => {
  const scaling = {
    type: 'llama3' as const,
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 64,
  }
  const plain = ropeFrequencies({ theta: 10000, scaling: { type: 'default' } }, 16)
  const scaled = ropeFrequencies({ theta: 10000, scaling }, 16)
  plain.forEach((f, i) => {
    const wavelength = (2 * Math.PI) / f
    if (wavelength < 16) expect(scaled[i]).toBe(f)
    else if (wavelength > 64) expect(scaled[i]).toBeCloseTo(f / 8, 9)
    else {
      const smooth = (64 / wavelength - 1) / 3 // by hand: 1 at 16, 0 at 64
      expect(scaled[i]).toBeCloseTo(((1 - smooth) * f) / 8 + smooth * f, 6)
    }
  })
})

test('linear scaling divides every frequency', () => {
  const plain = ropeFrequencies({ theta: 100, scaling: { type: 'default' } }, 4)
  expect([...plain]).toEqual([1, Math.fround(0.1)])
  expect([...ropeFrequencies({ theta: 100, scaling: { type: 'linear', factor: 4 } }, 4)]).toEqual([
    0.25,
    plain[1] / 4,
  ])
})

function randomAttention({ numHeads, numKeyValueHeads, headDim }: GroupedAttention, T: number, seed: number) {
  const next = randomNumbers(seed)
  const D = 5
  return {
    x: randomMatrix(T, D, next),
    qkv: randomMatrix(D, (numHeads + 2 * numKeyValueHeads) * headDim, next),
    output: randomMatrix(numHeads * headDim, D, next),
  }
}

function definition(x: Matrix, qkv: Matrix, output: Matrix, config: GroupedAttention): Matrix {
  const { numHeads, numKeyValueHeads, headDim } = config
  const rows = x.map((row) => rowTimes(row, qkv))
  const heads = (first: number, count: number, rotate: boolean) =>
    rows.map((row, position) =>
      Array.from({ length: count }, (_, h) => {
        const head = row.slice((first + h) * headDim, (first + h + 1) * headDim)
        return rotate ? ropeReference(head, position, THETA) : head
      }),
    )
  const q = heads(0, numHeads, true)
  const k = heads(numHeads, numKeyValueHeads, true)
  const v = heads(numHeads + numKeyValueHeads, numKeyValueHeads, false)
  return attentionReference(q, k, v, config).map((row) => rowTimes(row, output))
}

function fast(
  x: Matrix,
  qkv: Matrix,
  output: Matrix,
  config: GroupedAttention,
  blockTokens: number,
): Float32Array {
  const T = x.length
  const cache = new KvCache({ weights: {}, layers: [grouped.cached(config)], maxPositionEmbeddings: 256 })
  const { columns } = cache.extend([new Uint8Array(T).fill(1)])
  const values = tf.tidy(() => {
    const positions = Int32Array.from({ length: T }, (_, t) => t)
    const attention = grouped.layers(config, {
      batch: 1,
      length: T,
      normEps: 1e-5,
      rope: (rope, headDim) => ropeTables(positions, 1, rope, headDim),
      positions: () => tf.tensor2d(positions, [1, T]),
      blocks: (shape) => queryBlocks(columns, T, shape, blockTokens),
      cache,
    })
    const weights = {
      qkv: { weight: tf.tensor2d(qkv), bias: null },
      output: { weight: tf.tensor2d(output), bias: null },
    }
    return attention(tf.tensor2d(x), weights, 0).dataSync() as Float32Array
  })
  cache.dispose()
  return values
}
