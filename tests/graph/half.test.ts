import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { backend } from '../../src/backend/backend.ts'
import type { HalfDtype } from '../../src/backend/dtypes.ts'
import { decodeBf16, decodeF16, encodeBf16, encodeF16, f16Table } from '../../src/checkpoint/dtype.ts'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { startRuntime } from '../../src/device/index.ts'
import { inHalf } from '../../src/graph/half.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const HALVES = ['bfloat16', 'float16'] as const
/** Distance of neighbouring numbers, as a share of the number at most: 8 and 11 significant bits. */
const SPACING = { bfloat16: 2 ** -7, float16: 2 ** -10 }

const next = randomNumbers(11)
const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))

/** The definition: float32 values rounded to nearest, ties to even, by the functions that write checkpoints. */
function rounded(values: Float32Array, dtype: HalfDtype): Float32Array {
  const bits = new Uint16Array(values.length)
  const target = new Uint32Array(values.length)
  const source = new Uint32Array(values.buffer, values.byteOffset, values.length)
  if (dtype === 'bfloat16') {
    encodeBf16(source, bits)
    decodeBf16(bits, target, 0)
  } else {
    encodeF16(source, bits)
    decodeF16(bits, target, 0, f16Table())
  }
  return new Float32Array(target.buffer)
}

function roundedTensor<T extends tf.Tensor>(x: T, dtype: HalfDtype): T {
  return tf.tensor(rounded(x.dataSync() as Float32Array, dtype), x.shape) as T
}

interface Replay {
  values: Float32Array
  /** Types of the products' operands, by TensorFlow's numbers. */
  types: number[]
  flops: number
}

/** `f` on x as a graph in which the weights are half precision, but those that are `exact`. */
function replay(
  dtype: HalfDtype,
  x: tf.Tensor2D,
  weights: tf.Tensor[],
  f: (x: tf.Tensor2D) => tf.Tensor,
  exact: tf.Tensor[] = [],
): Replay {
  const before = tf.memory().numTensors
  const own = new Set(weights.map(({ dataId }) => dataId))
  const seen = tf.tidy(() => {
    const example = tf.zerosLike(x)
    const recording = record({ x: example }, () => ({ y: f(example) }), {
      isVariable: ({ dataId }) => own.has(dataId),
    })
    const session = new GraphSession(inHalf(recording, dtype, new Set(exact.map(({ dataId }) => dataId))))
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
    const asWeight = replay(dtype, one, [numbers], (x) => tf.matMul(x, numbers))
    const asInput = replay(dtype, numbers, [one], (x) => tf.matMul(x, one))
    expect([...asWeight.values]).toEqual(expected)
    expect([...asInput.values]).toEqual(expected)
    tf.dispose([numbers, one])
  })

  test.each([
    ['x W', false, false],
    ['x W^T', false, true],
    ['W x^T', true, false],
    ['W^T x^T', true, true],
  ])('%s is the float32 product of rounded operands, rounded', (_, weightFirst, transposed) => {
    const [T, D, n] = [24, 64, 40]
    const x = matrix(T, D)
    const weight = transposed === weightFirst ? matrix(D, n) : matrix(n, D)
    const product = (a: tf.Tensor2D, w: tf.Tensor2D): tf.Tensor2D =>
      weightFirst ? tf.matMul(w, a, transposed, true) : tf.matMul(a, w, false, transposed)
    const { values, types, flops } = replay(dtype, x, [weight], (a) => product(a, weight))
    const expected = tf.tidy(() => product(roundedTensor(x, dtype), roundedTensor(weight, dtype)).dataSync())
    expect(types).toEqual([TYPE[dtype]])
    expect(flops).toBe(2 * T * D * n)
    // TensorFlow may cut the result off instead of rounding it: a whole spacing. And sums are added in another order.
    values.forEach((value, i) => {
      expect(Math.abs(value - expected[i])).toBeLessThanOrEqual(SPACING[dtype] * Math.abs(expected[i]) + 1e-5)
    })
    tf.dispose([x, weight])
  })

  test('weights that are cut, picked by index or given another shape on the way', () => {
    const stack = tf.tensor3d(randomMatrix(4 * 8, 8, next).flat(), [4, 8, 8])
    const tall = matrix(16, 8)
    const x = tf.eye(8)
    const ops = backend().ops!
    const { values, types, flops } = replay(dtype, x, [stack, tall], (a) => {
      const picked = ops.pick(stack, tf.tensor1d([2, 0], 'int32')) as tf.Tensor2D[]
      const sliced = tf.reshape(tf.slice(stack, [3, 0, 0], [1, 8, 8]), [8, 8]) as tf.Tensor2D
      const unstacked = tf.unstack(stack)[1] as tf.Tensor2D
      const weights = [...picked, sliced, unstacked, ...tf.split(tall, 2, 0)]
      return tf.concat(
        weights.map((weight) => tf.matMul(a, weight)),
        0,
      )
    })
    const numbers = rounded(stack.dataSync() as Float32Array, dtype)
    const part = (e: number) => [...numbers.subarray(64 * e, 64 * (e + 1))]
    const last = [...rounded(tall.dataSync() as Float32Array, dtype)]
    expect([...values]).toEqual([...part(2), ...part(0), ...part(3), ...part(1), ...last])
    expect(types).toEqual(new Array(6).fill(TYPE[dtype]))
    expect(flops).toBe(6 * 2 * 8 ** 3)
    tf.dispose([stack, tall, x])
  })

  test('what is used in any other way, or exact by request, stays float32 to the bit', () => {
    const [x, square] = [matrix(9, 9), matrix(9, 8)]
    const handedOut = (a: tf.Tensor) => {
      tf.matMul(a, square)
      return tf.reshape(square, [72])
    }
    const cases: [string, tf.Tensor2D, (a: tf.Tensor2D) => tf.Tensor, tf.Tensor[]][] = [
      ['added', square, (a) => tf.add(tf.matMul(a, square), square), []],
      ['looked up', square, (a) => tf.add(tf.matMul(a, square), tf.gather(square, [0])), []],
      ['its part added', square, (a) => tf.add(tf.matMul(a, square), tf.sum(tf.split(square, 2, 1)[1])), []],
      ['handed out', square, handedOut, []],
      ['exact', square, (a) => tf.matMul(a, square), [square]],
    ]
    for (const [name, weight, f, exact] of cases) {
      const { values, types } = replay(dtype, x, [weight], f, exact)
      const expected = tf.tidy(() => f(x).dataSync())
      expect(maxDifference(values, expected), name).toBe(0)
      expect(types, name).toEqual([TYPE.float32])
    }
    tf.dispose([x, square])
  })
})
