import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { startRuntime } from '../../src/device/index.ts'
import { planFor } from '../../src/graph/plan.ts'
import { encodeSessionConfig } from '../../src/graph/protobuf.ts'
import { type Recording, record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { sideBySide } from '../../src/graph/side-by-side.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

const next = randomNumbers(5)
const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))
const products = ({ nodes }: Recording) => nodes.filter(({ op }) => op.includes('MatMul')).length

/** `f` on x [rows, columns] as a graph whose products stand side by side; compared with running `f` itself. */
function replay(
  rows: number,
  columns: number,
  f: (x: tf.Tensor2D) => tf.Tensor,
): { products: number; flops: number } {
  const before = tf.memory().numTensors
  const seen = tf.tidy(() => {
    const example = matrix(rows, columns)
    const recording = record({ x: example }, () => ({ y: f(example) }))
    const session = new GraphSession(recording, planFor({ rows }))
    const x = matrix(rows, columns)
    const { result, flops } = countMatmulFlops(() => session.run({ x }, ['y']))
    const expected = f(x)
    expect(result[0].shape).toEqual(expected.shape)
    expect(maxDifference(result[0].dataSync(), expected.dataSync())).toBeLessThan(1e-3)
    session.dispose()
    return { products: products(sideBySide(recording, planFor({ rows }))), flops }
  })
  expect(tf.memory().numTensors).toBe(before)
  return seen
}

/** So large that ROWS rows are worth a second thread, and small enough to be shared node by node. */
const LARGE = 512
const ROWS = 64
const VARIANTS = [
  { name: 'x W, added up along the inputs', f: (w: tf.Tensor2D) => (x: tf.Tensor2D) => tf.matMul(x, w) },
  {
    name: 'x W^T, joined along the outputs',
    f: (w: tf.Tensor2D) => (x: tf.Tensor2D) => tf.matMul(x, w, false, true),
  },
  {
    name: 'W x^T, joined along the outputs',
    f: (w: tf.Tensor2D) => (x: tf.Tensor2D) => tf.matMul(w, x, false, true),
  },
  {
    name: 'W^T x^T, added up along the inputs',
    f: (w: tf.Tensor2D) => (x: tf.Tensor2D) => tf.matMul(w, x, true, true),
  },
]

for (const { name, f } of VARIANTS) {
  test(`${name}: two products, the same result and as many FLOPs`, () => {
    const weight = matrix(LARGE, LARGE)
    const seen = replay(ROWS, LARGE, f(weight))
    expect(seen).toEqual({ products: 2, flops: 2 * ROWS * LARGE * LARGE })
    weight.dispose()
  })
}

test('left alone: little to multiply, a length that cannot be halved, products that stand side by side already', () => {
  const [weight, other, small] = [matrix(LARGE, LARGE), matrix(LARGE, LARGE), matrix(LARGE, 8)]
  expect(replay(ROWS, LARGE, (x) => tf.matMul(x, small)).products).toBe(1)
  expect(replay(ROWS + 1, LARGE, (x) => tf.matMul(x, weight)).products).toBe(1)
  expect(replay(ROWS, LARGE, (x) => tf.add(tf.matMul(x, weight), tf.matMul(x, other))).products).toBe(2)
  tf.dispose([weight, other, small])
})

test('more threads give more parts, and fewer where products stand side by side', () => {
  const [a, b, x] = [matrix(LARGE, LARGE), matrix(LARGE, LARGE), matrix(ROWS, LARGE)]
  const one = record({ x }, () => ({ y: tf.matMul(x, a) }))
  const two = record({ x }, () => ({ y: tf.add(tf.matMul(x, a), tf.matMul(x, b)) }))
  const parts = (recording: Recording, threads: number) =>
    products(
      sideBySide(
        recording,
        planFor({ rows: ROWS }, { processor: { threads, features: [], tiles: false, pairs: false } }),
      ),
    )
  expect([1, 2, 4, 5].map((threads) => parts(one, threads))).toEqual([1, 2, 4, 1])
  expect([2, 4].map((threads) => parts(two, threads))).toEqual([2, 4])
  tf.dispose([a, b, x])
})

test("a session's own options, by TensorFlow's field numbers", () => {
  const hex = (options: Parameters<typeof encodeSessionConfig>[0]) =>
    Buffer.from(encodeSessionConfig(options)).toString('hex')
  // Fields 2 (threads an op), 10 (graph options) and 16 (experimental) of a ConfigProto; in graph options 10 (rewriting), and in that
  // 4 (memory optimizer) is 1 (none); in the last 3, the executor's name of 24 letters.
  const rewriting = '520452022001'
  const name = Buffer.from('SINGLE_THREADED_EXECUTOR').toString('hex')
  expect(hex({ opThreads: 1, inCallingThread: true })).toBe(`1001${rewriting}82011a1a18${name}`)
  expect(hex({ opThreads: 3, inCallingThread: false })).toBe('1003')
})
