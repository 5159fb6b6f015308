import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { type ForwardShape, forwardFlops, totalFlops } from '../../src/cost/flops.ts'
import { graphMatmuls } from '../../src/cost/graph-matmuls.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { type Piece, piecesOf } from '../../src/graph/plan.ts'
import { type GraphNode, shapeProto } from '../../src/graph/protobuf.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession } from '../../src/graph/session.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { DISPATCHES, type DispatchName } from '../../src/model/ways.ts'
import { fixtureModel } from '../helpers/golden.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

/** Columns that a new cache has room for; the queries of a short step meet all of them. */
const ROOM = 256

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** Columns that a query of a step meets, on average: those of blocks of 64 end with the block. */
function contextOf({ from, stepTokens }: Piece): number {
  if (stepTokens <= 16) return ROOM
  const ends = Array.from(
    { length: stepTokens },
    (_, t) => from + Math.min(stepTokens, 64 * Math.ceil((t + 1) / 64)),
  )
  return ends.reduce((a, b) => a + b) / stepTokens
}

/** By the formula what the steps of a call multiply: padding to the step and what a block of queries has in common included. */
function formula(
  { config }: MoeModel,
  T: number,
  { batch = 1, dispatch, logits }: { batch?: number; dispatch: DispatchName; logits: 'all' | 'last' },
): number {
  const pieces = piecesOf(T)
  return pieces.reduce((sum, piece, i) => {
    const { stepTokens } = piece
    const tokens = batch * stepTokens
    const lastOnly = i === pieces.length - 1 ? batch : 0
    const shape = {
      tokens,
      context: contextOf(piece),
      logitRows: logits === 'all' ? tokens : lastOnly,
      dispatch,
    }
    return sum + totalFlops(forwardFlops(config, shape as ForwardShape))
  }, 0)
}

const MODELS: [string, () => MoeModel][] = [
  ['8 experts, 2 chosen', () => randomModel({ E: 8, K: 2 })],
  ['1 expert', () => randomModel({ E: 1, K: 1 })],
  ['all of 3 experts chosen, tied embeddings', () => randomModel({ E: 3, K: 3, tied: true })],
  ['sliding window, one key-value head', () => randomModel({ E: 5, K: 1, kvHeads: 1, slidingWindow: 5 })],
  ['glm4_moe: shared expert, a layer without experts', () => fixtureModel('glm4_moe')],
  ['llama: no experts', () => fixtureModel('llama')],
]

describe.each(MODELS)('%s', (_, make) => {
  test.each(DISPATCHES)('a recorded prompt, then decoded tokens, equal the formula (%s)', (dispatch) => {
    const before = tf.memory().numTensors
    const model = make()
    const recorded = new RecordedExecutor(model)
    const cache = model.createCache()
    const count = (tokens: number[] | number[][], logits: 'all' | 'last', own = cache) =>
      countMatmulFlops(() => tf.dispose(recorded.forward(tokens, { cache: own, dispatch, logits }).logits))
        .flops
    expect(count(randomTokens(8, 40, 1), 'all')).toBe(formula(model, 8, { dispatch, logits: 'all' }))
    for (const token of [3, 9])
      expect(count([token], 'last')).toBe(formula(model, 1, { dispatch, logits: 'last' }))
    const batch = [randomTokens(3, 40, 2), randomTokens(3, 40, 3)]
    const own = model.createCache()
    expect(count(batch, 'last', own)).toBe(formula(model, 3, { batch: 2, dispatch, logits: 'last' }))
    for (const used of [cache, own]) used.dispose()
    recorded.dispose()
    model.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })
})

test('logits that a piece of a prompt is not asked for are not multiplied and not counted', () => {
  const model = randomModel({ E: 4, K: 2 })
  const recorded = new RecordedExecutor(model)
  const tokens = randomTokens(70, 40, 1)
  expect(piecesOf(70).length).toBeGreaterThan(1)
  const count = (logits: 'all' | 'last') =>
    countMatmulFlops(() => tf.dispose(recorded.forward(tokens, { dispatch: 'sparse', logits }).logits)).flops
  expect(count('last')).toBe(formula(model, 70, { dispatch: 'sparse', logits: 'last' }))
  expect(count('all')).toBe(formula(model, 70, { dispatch: 'sparse', logits: 'all' }))
  expect(
    countMatmulFlops(() => recorded.greedy(randomTokens(192, 40, 2), { dispatch: 'sparse' })).flops,
  ).toBe(formula(model, 192, { dispatch: 'sparse', logits: 'last' }))
  recorded.dispose()
  model.dispose()
})

test('a graph that multiplies more than it should is found out: dense where sparse is due', () => {
  const model = randomModel({ D: 16, H: 24, E: 4, K: 2, layers: 2 })
  const recorded = new RecordedExecutor(model)
  const forward = () => tf.dispose(recorded.forward([1, 2, 3, 4], { dispatch: 'dense' }).logits)
  const { flops } = countMatmulFlops(forward)
  const due = formula(model, 4, { dispatch: 'sparse', logits: 'all' })
  expect(flops - due).toBe(2 * (2 * 3 * 16 * 24) * 4 * (4 - 2)) // layers, an expert's row, tokens, experts too many
  recorded.dispose()
  model.dispose()
})

test('groups of rows count by their sizes in that run, whatever the recording saw', () => {
  const model = randomModel({ E: 4, K: 1, layers: 1 })
  const recorded = new RecordedExecutor(model)
  const rowsOf = (tokens: number[]) => {
    const { result, matmuls } = countMatmulFlops(() => {
      const { logits, trace } = recorded.forward(tokens, { dispatch: 'sparse', trace: true })
      logits.dispose()
      return [...trace!.layers[0].tokensPerExpert]
    })
    const H = 24
    const gateUps = matmuls.filter(({ m }) => m === 2 * H)
    return { routed: result, counted: gateUps.map(({ n }) => n) }
  }
  const prompts = [8, 32].flatMap((T) => [
    randomTokens(T, 40, 1),
    randomTokens(T, 40, 2),
    new Array(T).fill(5),
  ])
  const calls = prompts.map(rowsOf)
  for (const { routed, counted } of calls) expect(counted).toEqual(routed)
  expect(new Set(calls.map(({ routed }) => routed.join())).size).toBeGreaterThan(1)
  recorded.dispose()
  model.dispose()
})

test('counting changes no result, counts the same in the call that records and in a nested count, and leaves nothing', () => {
  const model = randomModel()
  const recorded = new RecordedExecutor(model)
  const forward = () => tf.tidy(() => recorded.forward([1, 2, 3, 4], {}).logits.dataSync())
  const methods = [GraphSession.prototype.execute]
  const first = countMatmulFlops(() => countMatmulFlops(forward))
  const second = countMatmulFlops(forward)
  expect([first.flops, first.result.flops]).toEqual([second.flops, second.flops])
  expect(second.flops).toBeGreaterThan(0)
  expect([...first.result.result]).toEqual([...second.result])
  const before = tf.memory().numTensors
  expect([...forward()]).toEqual([...second.result])
  expect(tf.memory().numTensors).toBe(before)
  expect([GraphSession.prototype.execute]).toEqual(methods)
  recorded.dispose()
  model.dispose()
})

test('einsum and transposed products of a graph count by their operands in the run', () => {
  const x = tf.ones<tf.Rank.R2>([3, 5])
  const recording = record({ x }, () => ({
    product: tf.matMul(x, x, true, false),
    einsum: tf.einsum('ij,kj->ik', x, x),
  }))
  const session = new GraphSession(recording)
  const flopsOf = (outputs: string[]) => countMatmulFlops(() => tf.dispose(session.run({ x }, outputs))).flops
  expect(flopsOf(['product'])).toBe(2 * 5 * 3 * 5)
  expect(flopsOf(['einsum'])).toBe(2 * 3 * 5 * 3)
  expect(flopsOf(['einsum', 'product'])).toBe(2 * 5 * 3 * 5 + 2 * 3 * 5 * 3)
  session.dispose()
})

test('what may run or not, and a product of an unknown name, are errors and no silent zeros', () => {
  const node = (name: string, op: string, input: string[]): GraphNode => ({ name, op, input, attr: {} })
  const input = { ...node('x', 'Placeholder', []), attr: { shape: { shape: shapeProto([2, 2]) } } }
  const graph = [
    input,
    node('chosen', 'StatelessCase', ['x']),
    node('product', 'MatMul', ['x', 'x']),
    node('strange', 'SomeNewMatMul', ['x', 'x']),
    node('after', 'Identity', ['product', '^chosen']),
  ]
  expect(() => graphMatmuls({ nodes: graph }, {}, ['after'])).toThrow('the graph has a StatelessCase')
  expect(() => graphMatmuls({ nodes: graph }, {}, ['strange:0'])).toThrow('SomeNewMatMul is not known')
  expect(graphMatmuls({ nodes: graph }, {}, ['product']).operands).toEqual(['x'])
})
