import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { calibrationBytes } from '../../src/checkpoint/calibrate.ts'
import { errorFactor } from '../../src/checkpoint/gptq.ts'
import { Moments } from '../../src/checkpoint/moments.ts'
import { startRuntime } from '../../src/device/index.ts'
import { sum } from '../../src/sums.ts'
import { randomModel, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

describe('sums of what a matrix is given', () => {
  test('are those of all rows at once, in whatever parts they come', () => {
    const parts = fc.array(fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 2500 })), {
      minLength: 1,
      maxLength: 6,
    })
    const before = tf.memory().numTensors
    fc.assert(
      fc.property(parts, fc.integer({ min: 1, max: 9 }), fc.nat(), (sizes, n, seed) => {
        const next = randomNumbers(seed)
        const rows = sum(sizes)
        const x = Float32Array.from({ length: rows * n }, (_, i) => next() + (i % n))
        const moments = new Moments(n)
        let end = 0
        for (const size of sizes) {
          const part = x.slice(end * n, (end + size) * n)
          moments.add(part)
          part.fill(Number.NaN) // it keeps none of it
          end += size
        }
        const factor = moments.factor()
        expect(factor === null).toBe(rows === 0)
        if (!factor) return
        const expected = new Float64Array(n * n)
        for (let t = 0; t < rows; t++)
          for (let i = 0; i < n; i++)
            for (let k = 0; k < n; k++) expected[i * n + k] += x[t * n + i] * x[t * n + k]
        const { numbers } = errorFactor(expected, n)
        const most = Math.max(...numbers.map(Math.abs))
        for (const [i, value] of numbers.entries())
          expect(Math.abs(factor.numbers[i] - value)).toBeLessThan(1e-4 * most)
      }),
      { numRuns: 60 },
    )
    expect(tf.memory().numTensors).toBe(before)
  })

  test('are none where there are no numbers', () => {
    const moments = new Moments(3)
    moments.add(Float32Array.of(1, 2, Number.NaN))
    expect(moments.factor()).toBeNull()
  })
})

test('memory of many texts grows by the states of their tokens alone', () => {
  const [D, tokens] = [24, 1e7]
  const model = randomModel({ D, H: 40, E: 6, K: 2 })
  const { config } = model
  expect(calibrationBytes(config, 2 * tokens) - calibrationBytes(config, tokens)).toBe(4 * D * tokens)
  // One token: its state, the layer's weights, and the rows that it gives to matrices (q+k+v, o, router, two experts) twice.
  const attention = 2 * D * D + 2 * D * (D / 2)
  const weights = 2 * D + attention + 6 * D + 6 * 3 * D * 40
  const rows = D + D + D + 2 * (D + 40)
  const factor = 8 * 40 ** 2 // of the widest inputs, those of down
  expect(calibrationBytes(config, 1)).toBe(4 * (D + weights + 2 * rows) + factor)
  model.dispose()
})
