import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { encodeSessionConfig } from '../../src/graph/protobuf.ts'
import { type Recording, record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { FEW_ROWS, sideBySide } from '../../src/graph/side-by-side.ts'
import { startRuntime } from '../../src/runtime/index.ts'
import { withSessionConfig } from '../../src/runtime/session-options.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

const next = randomNumbers(5)
const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))
const products = ({ nodes }: Pick<Recording, 'nodes'> | GraphSession) =>
  nodes.filter(({ op }) => op.includes('MatMul')).length

/** `f` on x [rows, columns] as a graph whose products stand side by side; compared with running `f` itself. */
function replay(
  rows: number,
  columns: number,
  f: (x: tf.Tensor2D) => tf.Tensor,
): { products: number; flops: number } {
  const before = tf.memory().numTensors
  const seen = tf.tidy(() => {
    const example = matrix(rows, columns)
    const session = new GraphSession(
      record({ x: example }, () => ({ y: f(example) })),
      { rows },
    )
    const x = matrix(rows, columns)
    const { result, flops } = countMatmulFlops(() => session.run({ x }, ['y']))
    const expected = f(x)
    expect(result[0].shape).toEqual(expected.shape)
    expect(maxDifference(result[0].dataSync(), expected.dataSync())).toBeLessThan(1e-3)
    session.dispose()
    return { products: products(session), flops }
  })
  expect(tf.memory().numTensors).toBe(before)
  return seen
}

/** So large that a single row is worth a second thread. */
const LARGE = 2048
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
  for (const rows of [1, 3]) {
    test(`${name}, of ${rows} rows: two products, the same result and as many FLOPs`, () => {
      const weight = matrix(LARGE, LARGE)
      const seen = replay(rows, LARGE, f(weight))
      expect(seen).toEqual({ products: 2, flops: 2 * rows * LARGE * LARGE })
      weight.dispose()
    })
  }
}

test('left alone: many rows, a small matrix, a length that cannot be halved, products that stand side by side already', () => {
  const [large, other, small, odd] = [
    matrix(LARGE, LARGE),
    matrix(LARGE, LARGE),
    matrix(LARGE, 8),
    matrix(LARGE - 1, LARGE),
  ]
  expect(replay(FEW_ROWS + 1, LARGE, (x) => tf.matMul(x, large)).products).toBe(1)
  expect(replay(1, LARGE - 1, (x) => tf.matMul(x, odd)).products).toBe(1)
  const x = matrix(1, LARGE)
  expect(
    products(
      sideBySide(
        record({ x }, () => ({ y: tf.matMul(x, small) })),
        2,
        1,
      ),
    ),
  ).toBe(1)
  x.dispose()
  expect(replay(1, LARGE, (x) => tf.add(tf.matMul(x, large), tf.matMul(x, other))).products).toBe(2)
  tf.dispose([large, other, small, odd])
})

test('more threads give more parts, up to eight, and fewer where products stand side by side', () => {
  const [a, b, x] = [matrix(LARGE, LARGE), matrix(LARGE, LARGE), matrix(1, LARGE)]
  const one = record({ x }, () => ({ y: tf.matMul(x, a) }))
  const two = record({ x }, () => ({ y: tf.add(tf.matMul(x, a), tf.matMul(x, b)) }))
  expect([1, 2, 4, 64].map((threads) => products(sideBySide(one, threads, 1)))).toEqual([1, 2, 4, 8])
  expect([2, 4, 64].map((threads) => products(sideBySide(two, threads, 1)))).toEqual([2, 4, 8])
  tf.dispose([a, b, x])
})

test("a session's own options are asked for while it is opened, and not after", () => {
  const asked = () => process.env.TINYMOE_SESSION_CONFIG
  // Fields 2 (threads an op) and 16 (experimental) of a ConfigProto; in the latter 3, the executor's name of 24 letters.
  const name = Buffer.from('SINGLE_THREADED_EXECUTOR').toString('hex')
  const alone = encodeSessionConfig({ opThreads: 1, inCallingThread: true })
  expect(withSessionConfig(alone, asked)).toBe(`100182011a1a18${name}`)
  expect(withSessionConfig(encodeSessionConfig({ opThreads: 3, inCallingThread: false }), asked)).toBe('1003')
  expect(asked()).toBeUndefined()
  expect(() =>
    withSessionConfig(alone, () => {
      throw new Error('no graph')
    }),
  ).toThrow('no graph')
  expect(asked()).toBeUndefined()
})
