import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { backend } from '../../src/backend/backend.ts'
import type { Dtype } from '../../src/backend/dtypes.ts'
import { hasOneDnn } from '../../src/backend/tensorflow.ts'
import type { TensorflowOps } from '../../src/backend/tensorflow-ops.ts'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { startRuntime } from '../../src/device/index.ts'
import { chooseProducts } from '../../src/graph/kernels.ts'
import { planFor } from '../../src/graph/plan.ts'
import { type Recording, record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import { sideBySide } from '../../src/graph/side-by-side.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

/** A plan for a processor of so many threads and these features. */
const plan = (rows: number, threads = 2, features: string[] = [], tiles = false) =>
  planFor({ rows }, { processor: { threads, features, tiles, pairs: false } })
/** The types of numbers that are given to oneDNN, where this TensorFlow has it. */
const given = (...types: string[]) => (hasOneDnn() ? types : [])

const next = randomNumbers(11)
const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))

/** `x W` for each of the weights, as a recording. */
function productsWith(...weights: tf.Tensor2D[]): Recording {
  const x = tf.zeros<tf.Rank.R2>([64, weights[0].shape[0]])
  const recording = record({ x }, () => ({ y: tf.tidy(() => tf.addN(weights.map((w) => tf.matMul(x, w)))) }))
  x.dispose()
  return recording
}

/** Whether a graph with these weights runs node by node. */
function nodeByNode(weight: tf.Tensor2D, rows: number, threads = 2): boolean {
  return sideBySide(productsWith(weight), plan(rows, threads)).oneThreadAnOp === true
}

test('few rows are left to the fused kernels, in the calling thread; of more rows oneDNN multiplies', () => {
  expect(plan(16)).toMatchObject({ products: 'fewRows', inCallingThread: true, expertParts: 1 })
  expect(plan(17)).toMatchObject({ products: given('float32'), inCallingThread: false, expertParts: 2 })
  expect(plan(17, 1)).toMatchObject({ products: given('float32'), inCallingThread: true, expertParts: 1 })
  expect(plan(17, 64).expertParts).toBe(8)
  const fewRowsOnly = [...plan(16).fused].filter((name) => !plan(17).fused.has(name))
  expect(fewRowsOnly).toEqual(['attention', 'expert', 'clampedExperts'])
})

test('with tiles single experts take many rows and weights as they are held, unless they are to be rounded; products always do', () => {
  const features = ['amx_bf16']
  const processor = { threads: 2, features, tiles: true, pairs: false }
  expect(plan(17, 2, features, true)).toMatchObject({ products: given('float32', 'bfloat16'), held: true })
  expect(plan(17, 2, features).held).toBe(true)
  expect(planFor({ rows: 17, dtype: 'bfloat16' }, { processor }).held).toBe(false)
  expect([...plan(17, 2, features, true).fused]).toEqual(
    [...plan(16).fused].filter((name) => name !== 'attention'),
  )
  expect(planFor({ rows: 17, dtype: 'float16' }, { processor })).toMatchObject({
    dtype: 'float32',
    held: true,
  })
})

test('many rows run node by node where most weights are small, and op by op where not or where threads are many', () => {
  const [small, middle, large] = [matrix(512, 512), matrix(512, 1024), matrix(1024, 2048)]
  expect([16, 17].map((rows) => nodeByNode(small, rows))).toEqual([false, true])
  expect([16, 17].map((rows) => nodeByNode(large, rows))).toEqual([false, false])
  expect([256, 257].map((rows) => nodeByNode(middle, rows))).toEqual([true, false])
  expect([1, 2, 4, 5].map((threads) => nodeByNode(small, 64, threads))).toEqual([false, true, true, false])
  tf.dispose([small, middle, large])
})

test('a graph without weights runs op by op', () => {
  const x = matrix(64, 64)
  const recording = record({ x }, () => ({ y: tf.matMul(x, x) }))
  expect(sideBySide(recording, plan(64))).toBe(recording)
  x.dispose()
})

test('weights are rounded for many rows only, and then no fused kernel reads them', () => {
  const processor = { threads: 2, features: ['avx512f', 'avx512_bf16'], tiles: false, pairs: false }
  const dtypeOf = (rows: number) => planFor({ rows, dtype: 'bfloat16' }, { processor }).dtype
  expect([16, 17].map(dtypeOf)).toEqual(['float32', 'bfloat16'])
  const half = planFor({ rows: 17, dtype: 'bfloat16' }, { processor })
  expect([...plan(17).fused].filter((name) => !half.fused.has(name))).toEqual(['experts'])
})

test('where our kernels multiply pairs of bfloat16, they are given what may be rounded: many rows, if bfloat16 is asked for by name', () => {
  const processor = { threads: 2, features: ['avx512f', 'avx512_bf16'], tiles: false, pairs: true }
  const asked = (dtype: Dtype, rows = 17) => planFor({ rows, dtype }, { processor })
  expect(asked('bfloat16')).toEqual({ ...asked('float32'), rounds: true })
  expect(asked('bfloat16')).toMatchObject({ dtype: 'float32', held: true })
  expect([asked('float32').rounds, asked('float16').rounds, asked('bfloat16', 16).rounds]).toEqual([
    false,
    false,
    false,
  ])
})

test('off a processor nothing is chosen, and weights are rounded for few rows too', () => {
  const card = planFor({ rows: 1, dtype: 'float16' }, { processor: null })
  expect(card).toMatchObject({ dtype: 'float16', products: [], inCallingThread: false, smallWeights: 0 })
  expect(card.fused.size).toBe(0)
})

test('what oneDNN is faster for, by the features of a processor', () => {
  expect(plan(64, 2, ['avx2', 'fma', 'avx_vnni', 'avx512f', 'avx512_vnni']).products).toEqual(
    given('float32'),
  )
  for (const feature of ['avx512_bf16', 'amx_bf16']) {
    expect(plan(64, 2, ['avx512f', feature]).products).toEqual(given('float32', 'bfloat16'))
    vi.stubEnv('ONEDNN_MAX_CPU_ISA', 'AVX2') // held back, it is given what any processor has kernels for
    expect(plan(64, 2, ['avx512f', feature]).products).toEqual(given('float32'))
    vi.unstubAllEnvs()
  }
})

test('an expert of many rows gives what eager gives', () => {
  const before = tf.memory().numTensors
  const rows = 20
  const [gateUp, down] = [matrix(128, 64), matrix(64, 64)]
  const example = matrix(rows, 64)
  const x = matrix(rows, 64)
  const ops = backend().ops as TensorflowOps
  const expert = (of: tf.Tensor2D) => ops.swiglu(of, gateUp, down)
  tf.tidy(() => {
    const recording = record({ x: example }, () => ({ y: expert(example) }))
    const session = new GraphSession(recording, planFor({ rows }))
    const [y] = session.run({ x }, ['y'])
    expect(y.shape).toEqual([64, rows])
    expect(maxDifference(y.dataSync(), expert(x).dataSync())).toBeLessThan(1e-4)
    session.dispose()
  })
  tf.dispose([gateUp, down, example, x])
  expect(tf.memory().numTensors).toBe(before)
})

describe('many rows with small weights', () => {
  const ROWS = 96
  const cases: [string, number, (x: tf.Tensor2D, w: tf.Tensor2D) => tf.Tensor][] = [
    ['x W, cut along the rows', 2, (x, w) => tf.matMul(x, w)],
    ['x W^T, cut along the rows', 2, (x, w) => tf.matMul(x, w, false, true)],
    ['W x^T, cut along the outputs', 2, (x, w) => tf.matMul(w, x, false, true)],
    ['W^T x^T, added up along the inputs', 2, (x, w) => tf.matMul(w, x, true, true)],
    ['an odd number of rows, left whole', 1, (x, w) => tf.matMul(tf.slice(x, [0, 0], [ROWS - 1, -1]), w)],
    ['little to multiply, left whole', 1, (x, w) => tf.matMul(x, tf.slice(w, [0, 0], [-1, 8]))],
  ]
  test.each(cases)('%s: the same result and as many FLOPs', (_, products, f) => {
    const before = tf.memory().numTensors
    tf.tidy(() => {
      const weight = matrix(512, 512)
      const example = matrix(ROWS, 512)
      const recording = record({ x: example }, () => ({ y: f(example, weight) }))
      const session = new GraphSession(recording, planFor({ rows: ROWS }))
      const x = matrix(ROWS, 512)
      const counted = countMatmulFlops(() => session.run({ x }, ['y']))
      const eager = countMatmulFlops(() => f(x, weight))
      expect(maxDifference(counted.result[0].dataSync(), eager.result.dataSync())).toBeLessThan(1e-3)
      expect(counted.flops).toBe(eager.flops)
      const { nodes } = sideBySide(recording, planFor({ rows: ROWS }))
      expect(nodes.filter(({ op }) => op.includes('MatMul'))).toHaveLength(products)
      session.dispose()
    })
    expect(tf.memory().numTensors).toBe(before)
  })
})

test("attention's softmax and products of stacks are the same from oneDNN as from Eigen, columns masked or all of them", () => {
  tf.tidy(() => {
    const stack = (rows: number) => tf.reshape(matrix(3 * rows, 64), [1, 3, rows, 64])
    const attend = ([q, k, mask]: tf.Tensor[]) =>
      tf.matMul(tf.softmax(tf.add(tf.matMul(q, k, false, true), mask)), k)
    for (const hidden of [0, 3, 30]) {
      const mask = tf.tensor(Array.from({ length: 30 }, (_, i) => (i < hidden ? -1e30 : 0)))
      const [q, k] = [stack(20), stack(30)]
      const session = new GraphSession(record({ q, k, mask }, () => ({ y: attend([q, k, mask]) })))
      const [y] = session.run({ q, k, mask }, ['y'])
      expect(maxDifference(y.dataSync(), attend([q, k, mask]).dataSync())).toBeLessThan(1e-5)
      session.dispose()
    }
  })
})

test('oneDNN is given the products of the types that were asked for, and no softmax but that of attention where it is large', () => {
  const [flat, stack, small] = [matrix(4, 4), tf.zeros([1, 2, 32, 32]), tf.zeros([1, 2, 4, 4])]
  const recording = record({ flat, stack, small }, () => {
    const ops = backend().ops as TensorflowOps
    const y = tf.softmax(tf.matMul(flat, ops.swiglu(flat, tf.concat([flat, flat]), flat)))
    const attended = [stack, small].map((x) => tf.sum(tf.matMul(tf.softmax(x), x)))
    return { y, attended: tf.addN(attended) }
  })
  const given = (products: Dtype[], of = recording) =>
    chooseProducts(of, { ...plan(64), products })
      .nodes.filter(({ op }) => op.startsWith('_Mkl'))
      .map(({ op }) => op)
  expect(recording.products).toHaveLength(5) // the expert's two, the one after it, two of stacks
  expect(given(['float32']).filter((op) => op.includes('MatMul'))).toHaveLength(5)
  expect(given(['float32']).filter((op) => op.includes('Softmax'))).toHaveLength(1)
  const half = recording.nodes.map((node) => ({ ...node, attr: { ...node.attr, T: { type: 14 } } }))
  expect(given([])).toEqual([])
  expect(given(['float32'], { ...recording, nodes: half })).toEqual([])
  expect(given(['float32', 'bfloat16'], { ...recording, nodes: half })).toHaveLength(6)
  tf.dispose([flat, stack, small])
})
