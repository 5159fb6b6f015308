import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { backend } from '../../src/backend/backend.ts'
import type { HalfDtype } from '../../src/backend/dtypes.ts'
import { heldEntry } from '../../src/backend/held.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { startRuntime } from '../../src/device/index.ts'
import { inHalf } from '../../src/graph/half.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { maxDifference } from '../helpers/golden.ts'
import { held, rounded, roundedTensor } from '../helpers/held.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const HALVES = ['bfloat16', 'float16'] as const
/** Distance of neighbouring numbers, as a share of the number at most: 8 and 11 significant bits. */
const SPACING = { bfloat16: 2 ** -7, float16: 2 ** -10 }

const next = randomNumbers(11)
const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))

interface Replay {
  values: Float32Array
  /** Types of the products' operands, by TensorFlow's numbers. */
  types: number[]
  flops: number
}

/** `f` on x as a graph that multiplies with held weights in half precision, but with those that are `exact`. */
function replay(
  dtype: HalfDtype,
  x: tf.Tensor2D,
  f: (x: tf.Tensor2D) => tf.Tensor,
  exact: tf.Tensor[] = [],
): Replay {
  const before = tf.memory().numTensors
  const seen = tf.tidy(() => {
    const example = tf.zerosLike(x)
    const recording = record({ x: example }, () => ({ y: f(example) }))
    const session = new GraphSession(
      inHalf({ ...recording, exact: new Set(exact.map(({ dataId }) => dataId)) }, dtype),
    )
    const { result, flops } = countMatmulFlops(() => session.run({ x }, ['y']))
    const products = session.recording.nodes.filter(({ op }) => op.includes('MatMul'))
    session.dispose()
    return {
      values: result[0].dataSync() as Float32Array,
      types: products.map(({ attr }) => (attr.T as { type: number }).type),
      flops,
    }
  })
  expect(tf.memory().numTensors).toBe(before)
  return seen
}

const TYPE = { float32: 1, bfloat16: 14, float16: 19 } // tensorflow/core/framework/types.proto

describe.each(HALVES)('%s', (dtype) => {
  test('both operands are rounded to nearest, ties to even, and stand where they stood', () => {
    const ties = [1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -11, 1 + 3 * 2 ** -11, -0.1, 1e-6, 300.7, 0]
    const numbers = tf.tensor2d([...ties, ...randomMatrix(1, 73, next)[0]], [9, 9])
    const one = tf.eye(9) // products with it are exact
    const expected = [...rounded(numbers.dataSync() as Float32Array, dtype)]
    expect(expected).not.toEqual([...numbers.dataSync()])
    const [weight, unit] = [held(numbers, dtype), held(one, dtype)]
    const asWeight = replay(dtype, one, (x) => tf.matMul(x, weight))
    const asInput = replay(dtype, numbers, (x) => tf.matMul(x, unit))
    expect([...asWeight.values]).toEqual(expected)
    expect([...asInput.values]).toEqual(expected)
    tf.dispose([numbers, one, weight, unit])
  })

  test.each([
    ['x W', false, false],
    ['x W^T', false, true],
    ['W x^T', true, false],
    ['W^T x^T', true, true],
  ])(
    '%s is the float32 product of rounded operands, rounded, however the weight lies',
    (_, weightFirst, transposed) => {
      const [T, D, n] = [24, 64, 40]
      const x = matrix(T, D)
      const weight = transposed === weightFirst ? matrix(D, n) : matrix(n, D)
      const product = (a: tf.Tensor2D, w: tf.Tensor2D): tf.Tensor2D =>
        weightFirst ? tf.matMul(w, a, transposed, true) : tf.matMul(a, w, false, transposed)
      const expected = tf.tidy(() =>
        product(roundedTensor(x, dtype), roundedTensor(weight, dtype)).dataSync(),
      )
      for (const turned of [false, true]) {
        const half = held(weight, dtype, turned)
        const { values, types, flops } = replay(dtype, x, (a) => product(a, half))
        expect(types).toEqual([TYPE[dtype]])
        expect(flops).toBe(2 * T * D * n)
        // TensorFlow may cut the result off instead of rounding it: a whole spacing. And sums are added in another order.
        values.forEach((value, i) => {
          const near = SPACING[dtype] * Math.abs(expected[i]) + 1e-5
          expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(near)
        })
        half.dispose()
      }
      tf.dispose([x, weight])
    },
  )

  test('weights that are picked by index, or entries of a stack, are read as they are held', () => {
    const numbers = tf.tensor3d(randomMatrix(4 * 8, 8, next).flat(), [4, 8, 8])
    const stack = held(numbers, dtype)
    const entry = heldEntry(activeTensorflow(), stack, 3) as tf.Tensor2D
    const x = tf.eye(8)
    const { values, types } = replay(dtype, x, (a) => {
      const picked = backend().ops!.pick(stack, tf.tensor1d([2, 0], 'int32')) as tf.Tensor2D[]
      return tf.concat(
        [...picked, entry].map((weight) => tf.matMul(a, weight)),
        0,
      )
    })
    const all = rounded(numbers.dataSync() as Float32Array, dtype)
    const part = (e: number) => [...all.subarray(64 * e, 64 * (e + 1))]
    expect([...values]).toEqual([...part(2), ...part(0), ...part(3)])
    expect(types).toEqual(new Array(3).fill(TYPE[dtype]))
    expect([...entry.dataSync()]).toEqual(part(3))
    tf.dispose([numbers, stack, entry, x])
  })

  test('what is exact by request, or used in another way, is the float32 of what is held', () => {
    const [x, square] = [matrix(9, 9), matrix(9, 9)]
    const weight = held(square, dtype)
    const wide = roundedTensor(square, dtype)
    const cases: [string, (a: tf.Tensor2D, w: tf.Tensor2D) => tf.Tensor][] = [
      ['exact', (a, w) => tf.matMul(a, w)],
      ['added', (a, w) => tf.add(a, w)],
      ['looked up', (_, w) => tf.gather(w, [3, 3, 0])],
      ['cut', (a, w) => tf.matMul(a, tf.slice(w, [0, 1], [9, 3]))],
      ['its part added', (a, w) => tf.add(a, tf.sum(tf.split(w, 3, 1)[1]))],
      ['handed out', (_, w) => tf.reshape(w, [81])],
    ]
    for (const [name, f] of cases) {
      const { values, types } = replay(dtype, x, (a) => f(a, weight), [weight])
      const expected = tf.tidy(() => f(x, wide).dataSync())
      expect(maxDifference(values, expected), name).toBeLessThan(1e-5)
      expect(types.every((type) => type === TYPE.float32)).toBe(true)
      expect([...tf.tidy(() => f(x, weight).dataSync())], `${name}, eagerly`).toEqual([...expected])
    }
    tf.dispose([x, square, weight, wide])
  })
})
