import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const next = randomNumbers(3)
const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))

/** Records `f`, runs the graph on other inputs, and compares with running `f` on them. */
function expectReplay(f: (x: tf.Tensor2D) => tf.Tensor, rows = 3, columns = 4): void {
  const before = tf.memory().numTensors
  tf.tidy(() => {
    const example = matrix(rows, columns)
    const session = new GraphSession(record({ x: example }, () => ({ y: f(example) })))
    for (let run = 0; run < 2; run++) {
      const x = matrix(rows, columns)
      const [y] = session.run({ x }, ['y'])
      const eager = f(x)
      expect(y.shape).toEqual(eager.shape)
      expect(maxDifference(y.dataSync(), eager.dataSync())).toBeLessThan(1e-6)
    }
    session.dispose()
  })
  expect(tf.memory().numTensors).toBe(before)
}

test('a run of many tfjs ops gives the same numbers when replayed', () => {
  const weight = matrix(4, 5)
  expectReplay((x) => {
    const h = tf.matMul(x, weight)
    const [a, b] = tf.split(tf.concat([h, tf.neg(h)], 1), 2, 1)
    const gated = tf.mul(tf.sigmoid(a), tf.add(b, 1)) as tf.Tensor2D
    const { values, indices } = tf.topk(tf.softmax(gated), 2)
    const rows = tf.gather(weight, tf.reshape(tf.floorDiv(indices, tf.scalar(2, 'int32')), [-1]))
    return tf.add(tf.sum(tf.square(rows)), tf.mean(tf.transpose(values), 1))
  })
  weight.dispose()
})

test('a shape that tfjs changes without an op becomes a reshape', () => {
  expectReplay((x) => tf.mul(tf.reshape(x, [2, 6]), tf.reshape(tf.expandDims(x, 0), [2, 6])))
})

test('small tensors from outside are constants, large ones variables, and entries of large ones are cut out of them', () => {
  tf.tidy(() => {
    const small = matrix(1, 4)
    const stack = tf.tensor3d(randomMatrix(3 * 40, 40, next).flat(), [3, 40, 40])
    const [, middle] = tf.unstack(stack) as tf.Tensor2D[]
    const large = matrix(40, 40)
    const x = matrix(2, 40)
    const f = () => tf.add(tf.matMul(tf.matMul(x, large), middle), tf.sum(small))
    const entries = new Map([[middle.dataId, { of: stack, index: 1 }]])
    const recording = record({ x }, () => ({ y: f() }), { entries })
    expect(recording.variables.map((v) => v.tensor)).toEqual([large, stack])
    const session = new GraphSession(recording)
    const [y] = session.run({ x }, ['y'])
    expect(maxDifference(y.dataSync(), f().dataSync())).toBeLessThan(1e-5)
    session.dispose()
  })
})

test('a large tensor that the host makes on the way is in the graph, though it is gone before the graph is loaded', () => {
  const factors = Float32Array.from({ length: 2000 }, (_, i) => i / 2000)
  expectReplay((x) => tf.tidy(() => tf.mul(x, tf.tensor1d(factors))), 2, 2000)
})

test('a read-back is an error that names the op, not a frozen constant, and leaves the backend as it was', () => {
  tf.tidy(() => {
    const x = matrix(2, 3)
    const { executeSingleOutput, readSync } = tf.backend() as unknown as Record<string, unknown>
    const build = () => {
      const total = tf.sum(tf.exp(x)).dataSync()[0]
      return { y: tf.mul(x, total) }
    }
    expect(() => record({ x }, build)).toThrow(
      'recording: the value of Sum was read back, so it would freeze in the graph',
    )
    const backend = tf.backend() as unknown as Record<string, unknown>
    expect(backend.executeSingleOutput).toBe(executeSingleOutput)
    expect(backend.readSync).toBe(readSync)
    expect(tf.sum(tf.exp(x)).dataSync()[0]).toBeGreaterThan(0)
  })
})

test('reading an input back is an error too', () => {
  tf.tidy(() => {
    const x = matrix(2, 3)
    expect(() => record({ x }, () => ({ y: tf.mul(x, x.dataSync()[0]) }))).toThrow(
      'the value of Placeholder was read back',
    )
  })
})

test('reading something back that was made on the host is fine', () => {
  expectReplay((x) => tf.mul(x, tf.tensor1d([2, 3]).dataSync()[1]))
})

test('a graph that TensorFlow refuses is an error with its words', () => {
  tf.tidy(() => {
    const x = matrix(2, 3)
    const recording = record({ x }, (recorder) => ({
      y: recorder.bind(tf.zeros([1]), recorder.emit('NoSuchOp', ['x'], {})),
    }))
    expect(() => new GraphSession(recording)).toThrow(
      /recording: TensorFlow does not take the graph: .*NoSuchOp/s,
    )
  })
})
