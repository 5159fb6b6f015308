import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { backend } from '../../src/backend/backend.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { startRuntime } from '../../src/device/index.ts'
import { planFor } from '../../src/graph/plan.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { held, rounded } from '../helpers/held.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** `x W^T` with W held in bfloat16, as a graph. */
function product(x: tf.Tensor2D, weight: tf.Tensor2D, isExact: boolean): Float32Array {
  return tf.tidy(() => {
    const example = tf.zerosLike(x)
    const plan = planFor({ rows: x.shape[0], dtype: 'bfloat16' })
    const recording = record({ x: example }, () => ({ y: tf.matMul(example, weight, false, true) }), plan)
    const exact = new Set(isExact ? [weight.dataId] : [])
    const session = new GraphSession({ ...recording, exact }, plan)
    const [y] = session.run({ x }, ['y'])
    session.dispose()
    return y.dataSync() as Float32Array
  })
}

/** What products are in float64, and the sums of their terms' sizes. */
function definition(x: number[][], weight: Float32Array, out: number): { y: number; terms: number }[] {
  const size = x[0].length
  return x.flatMap((row) =>
    Array.from({ length: out }, (_, o) => {
      const terms = row.map((value, i) => Math.fround(value) * weight[o * size + i])
      return {
        y: terms.reduce((a, b) => a + b, 0),
        terms: terms.reduce((a, b) => a + Math.abs(b), 0),
      }
    }),
  )
}

const sizes = fc.record({
  rows: fc.integer({ min: LIMITS.fewRows - 3, max: 70 }),
  inner: fc.integer({ min: 1, max: 90 }),
  out: fc.integer({ min: 1, max: 40 }),
  seed: fc.nat(),
})

test('many rows are off by no more of their terms than is said, few rows and exact weights by nothing, and beside others a row is the same', () => {
  fc.assert(
    fc.property(sizes, ({ rows, inner, out, seed }) => {
      const next = randomNumbers(seed)
      const [x, numbers] = [randomMatrix(rows, inner, next), tf.tensor2d(randomMatrix(out, inner, next))]
      const weight = held(numbers, 'bfloat16') as tf.Tensor2D
      const expected = definition(x, rounded(numbers.dataSync() as Float32Array, 'bfloat16'), out)
      for (const exact of [false, true]) {
        const actual = tf.tidy(() => product(tf.tensor2d(x), weight, exact))
        const share = 1e-5 + (exact || rows <= LIMITS.fewRows || !backend().processor?.pairs ? 0 : 2 ** -8)
        for (const [i, { y, terms }] of expected.entries())
          expect(Math.abs(actual[i] - y)).toBeLessThanOrEqual(share * terms + 1e-6)
        const turned = tf.tidy(() => product(tf.tensor2d(x.toReversed()), weight, exact))
        expect([...turned.subarray(0, out)]).toEqual([...actual.subarray((rows - 1) * out)])
      }
      tf.dispose([numbers, weight])
    }),
    { numRuns: 25 },
  )
})
