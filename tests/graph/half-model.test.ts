import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import type { Dtype } from '../../src/backend/dtypes.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { planFor } from '../../src/graph/plan.ts'
import { Session } from '../../src/graph/sessions.ts'
import { RecordedStep, StepGraphs } from '../../src/graph/step.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { leaves } from '../../src/model/tree.ts'
import { DISPATCHES, type DispatchName } from '../../src/model/ways.ts'
import { fixtureModel, maxDifference } from '../helpers/golden.ts'
import { heldModel, rounded } from '../helpers/held.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const HALVES = ['bfloat16', 'float16'] as const
/** Largest relative error of one rounding: half the distance of neighbours, for 8 and 11 significant bits. */
const ROUNDING = { bfloat16: 2 ** -8, float16: 2 ** -11 }
/**
 * A logit passes tens of products, each with three roundings of random sign. Their errors add up like a random walk, to a few
 * roundings (2 to 5 measured); a wrong scale, order or operand would give hundreds.
 */
const ROUNDINGS = 10

/** Root mean square of the difference, as a share of that of `expected`. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  const squares = (of: (i: number) => number) => expected.reduce((sum, _, i) => sum + of(i) ** 2, 0)
  return Math.sqrt(squares((i) => actual[i] - expected[i]) / squares((i) => expected[i]))
}

const V = 40
const MODELS: [string, () => MoeModel][] = [
  ['mixtral', () => randomModel({ D: 48, H: 40, E: 6, K: 2, V })],
  ['mixtral, tied', () => randomModel({ D: 48, H: 40, E: 3, K: 1, V, tied: true })],
  ['deepseek-like: shared expert, a layer without experts', () => fixtureModel('glm4_moe')],
]

describe.each(MODELS)('%s', (_, make) => {
  test.each(HALVES)('%s: a prompt is close to float32, with as many FLOPs, by every dispatch', (dtype) => {
    const before = tf.memory().numTensors
    const model = make()
    const full = new RecordedExecutor(model)
    const rounding = heldModel(model, dtype)
    const half = new RecordedExecutor(rounding, dtype)
    const tokens = randomTokens(40, V, 3)
    for (const dispatch of DISPATCHES) {
      const run = (by: RecordedExecutor) => countMatmulFlops(() => logitsOf(by.forward(tokens, { dispatch })))
      const [expected, actual] = [run(full), run(half)]
      const error = relativeError(actual.result, expected.result)
      expect(error).toBeLessThan(ROUNDINGS * ROUNDING[dtype])
      expect(error).toBeGreaterThan(ROUNDING[dtype] / 10) // it did round
      expect(actual.flops).toBe(expected.flops)
    }
    full.dispose()
    half.dispose()
    rounding.dispose()
    model.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })
})

describe.each(HALVES)('%s', (dtype) => {
  const sizes = { D: 48, H: 40, E: 6, K: 2, V }

  test('held so, products of few rows are sums of float32; so are those of many, unless they are asked to be rounded', () => {
    const before = tf.memory().numTensors
    const model = randomModel(sizes)
    const half = heldModel(model, dtype)
    const executors = [undefined, dtype].map((multiplied) => new RecordedExecutor(half, multiplied))
    const error = (by: RecordedExecutor, rows: number, dispatch: DispatchName) => {
      const tokens = randomTokens(rows, V, 2)
      const eager = logitsOf(half.forward(tokens, { dispatch })) // each op sees its weights widened
      return relativeError(logitsOf(by.forward(tokens, { dispatch })), eager)
    }
    for (const dispatch of DISPATCHES) {
      for (const rows of [1, 2, LIMITS.fewRows])
        for (const by of executors) expect(error(by, rows, dispatch)).toBeLessThan(2e-6)
      expect(error(executors[0], LIMITS.fewRows + 9, dispatch)).toBeLessThan(2e-6)
    }
    const plan = planFor({ rows: LIMITS.fewRows + 9, dtype })
    const rounds = plan.rounds || plan.dtype === dtype
    expect(error(executors[1], LIMITS.fewRows + 9, 'sparse') > 2e-6).toBe(rounds)
    for (const by of executors) by.dispose()
    half.dispose()
    model.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })

  test('its tensors read as the numbers rounded, and training code sees float32', () => {
    const model = randomModel(sizes)
    const half = heldModel(model, dtype)
    const pairs = leaves<tf.Tensor | Float32Array>(half.weights)
    const exact = new Map(leaves<tf.Tensor>(model.weights))
    for (const [path, tensor] of pairs) {
      if (!(tensor instanceof tf.Tensor)) continue
      const numbers = exact.get(path)!.dataSync() as Float32Array
      const asLoaded = tensor.rank > 1 && !path.includes('router') ? rounded(numbers, dtype) : numbers
      expect([...tensor.dataSync()], path).toEqual([...asLoaded])
      expect(tensor.dtype).toBe('float32')
    }
    half.dispose()
    model.dispose()
  })
})

test.each(HALVES)('%s: the decode graph that a card runs, where few rows are rounded too', (dtype) => {
  const model = randomModel({ D: 48, H: 40, E: 6, K: 2 })
  const half = heldModel(model, dtype)
  const before = tf.memory().numTensors
  const capacity = 8
  const logits = (dtype: Dtype) => {
    const shape = { batch: 1, tokens: 1, capacity, dispatch: 'auto', logits: 'last' } as const
    const graphs = new StepGraphs(model.config, (dtype === 'float32' ? model : half).weights, dtype)
    const step = new RecordedStep(graphs, shape, planFor({ rows: 1, dtype }, { processor: null }))
    const cache = model.createCache()
    const written = [3, 30, 12].map((token, column) => {
      const columns = [Uint8Array.from({ length: capacity }, (_, i) => Number(i <= column))]
      const [tokens, positions, lastRows] = [[token], [column], [0]].map((ids) => Int32Array.from(ids))
      const [result] = step.run(cache, { tokens, positions, lastRows, columns, firstColumn: column }, [
        'logits',
      ])
      return result.data as Float32Array
    })
    cache.dispose()
    graphs.dispose()
    return written
  }
  const [expected, actual] = [logits('float32'), logits(dtype)]
  expected.forEach((row, i) => {
    const error = relativeError(actual[i], row)
    expect(error).toBeLessThan(ROUNDINGS * ROUNDING[dtype])
    expect(error).toBeGreaterThan(ROUNDING[dtype] / 10)
  })
  expect(tf.memory().numTensors).toBe(before)
  half.dispose()
  model.dispose()
})

test('held weights are variables once, whatever the number of graphs and of sessions, and no other copy is there', () => {
  const model = randomModel({ D: 48, H: 40, E: 4, layers: 1 })
  const half = heldModel(model, 'bfloat16')
  const by = new RecordedExecutor(half, 'bfloat16')
  const assign = vi.spyOn(Session.prototype, 'assign')
  const before = tf.memory().numTensors
  for (const dispatch of DISPATCHES)
    for (const tokens of [1, LIMITS.fewRows, 32, 64])
      by.forward(randomTokens(tokens, V, 1), { dispatch }).logits.dispose()
  const given = assign.mock.calls.flatMap(([variables]) => variables)
  const matrices = given.filter(({ shape }) => shape.length > 1)
  const numbers = (dtype: string) =>
    matrices.filter((one) => one.dtype === dtype).reduce((sum, { tensor }) => sum + tensor.size, 0)
  const attention = 48 * 96 + 48 * 48 // queries, keys and values of 4 + 2 + 2 heads; output
  expect(numbers('bfloat16')).toBe(attention + 4 * 3 * 48 * 40 + 2 * V * 48) // experts; embedding and unembedding
  expect(numbers('float32')).toBe(0) // the router is so small that it is a constant
  expect(new Set(given.map(({ name }) => name)).size).toBe(given.length)
  assign.mockRestore()
  by.dispose()
  expect(tf.memory().numTensors).toBe(before)
  half.dispose()
  model.dispose()
})

test('router logits and logits are not rounded', () => {
  const model = randomModel({ D: 48, H: 40, E: 48, K: 2 }) // routers large enough to be variables
  const rounding = heldModel(model, 'bfloat16')
  const half = new RecordedExecutor(rounding, 'bfloat16')
  const { logits, trace } = half.forward(randomTokens(32, V, 1), { trace: true })
  const values = [logits.dataSync() as Float32Array, ...trace!.layers.map((layer) => layer.routerLogits)]
  for (const numbers of values) {
    const bits = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length)
    const short = bits.filter((number) => (number & 0xffff) === 0).length
    expect(short).toBeLessThan(0.01 * bits.length)
  }
  logits.dispose()
  half.dispose()
  rounding.dispose()
  model.dispose()
})

test('decoding and the eager forward go on from a cache that half precision filled', () => {
  const model = randomModel({ D: 48, H: 40, E: 6, K: 2 })
  const before = tf.memory().numTensors
  const rounding = heldModel(model, 'bfloat16')
  const half = new RecordedExecutor(rounding, 'bfloat16')
  const tokens = randomTokens(45, V, 5)
  const expected = logitsOf(model.forward(tokens))
  const cache = rounding.createCache()
  logitsOf(half.forward(tokens.slice(0, 40), { cache }))
  for (const [i, token] of [...tokens.entries()].slice(40)) {
    const by = i % 2 === 0 ? half : rounding
    const logits = logitsOf(by.forward([token], { cache }))
    const error = relativeError(logits, expected.subarray(i * V, (i + 1) * V))
    expect(error).toBeLessThan(ROUNDINGS * ROUNDING.bfloat16)
    expect(error).toBeGreaterThan(0)
  }
  cache.dispose()
  half.dispose()
  rounding.dispose()
  expect(tf.memory().numTensors).toBe(before)
  model.dispose()
})

describe('models/moe', () => {
  const load = (dtype: Dtype | 'auto') => loadModel('models/moe', { device: 'cpu', dtype })
  const PROMPTS = [
    'Once upon a time there was a little girl called Lily. She had a red ball and she liked to play with',
    'Question: 47 + 38 = ?\nAnswer: 7 + 8 = 15, carry 1. 4 + 3 + 1 = 8. So',
  ]

  test.each(HALVES)(
    '%s: logits are close to float32, and prompts are continued by the same text',
    async (dtype) => {
      const before = tf.memory().numTensors
      const models = [await load('float32'), await load(dtype)]
      expect(models.map((model) => model.dtype)).toEqual(['float32', dtype])
      for (const prompt of PROMPTS) {
        const written = (model: LoadedModel) => model.generate({ prompt, maxTokens: 40 }).done
        const [full, half] = [await written(models[0]), await written(models[1])]
        expect(half.promptTokens).toBeGreaterThan(LIMITS.fewRows)
        expect(half.tokens).toEqual(full.tokens)
        const tokens = await models[0].tokenizer!.encode(prompt)
        const [expected, actual] = models.map((model) => logitsOf(model.forward(tokens)))
        const error = relativeError(actual, expected)
        expect(error).toBeLessThan(ROUNDINGS * ROUNDING[dtype])
        if (planFor({ rows: tokens.length, dtype }).dtype === dtype) expect(error).toBeGreaterThan(0)
      }
      for (const model of models) model.dispose()
      expect(tf.memory().numTensors).toBe(before)
    },
  )

  test('by default they are held as they are stored, which changes no number, and interventions see the same', async () => {
    const models = [await load('float32'), await load('auto'), await load('bfloat16')]
    expect(models.map(({ dtype }) => dtype)).toEqual(['float32', 'bfloat16', 'bfloat16'])
    const tokens = randomTokens(40, 1000, 1)
    const interventions = { disable: [{ expert: 0 }] }
    const [expected, ...others] = models.map((model) => logitsOf(model.forward(tokens, { interventions })))
    for (const actual of others) expect(maxDifference(actual, expected)).toBe(0)
    const [full, auto] = models.map((model) => logitsOf(model.forward(tokens)))
    expect(maxDifference(auto, full)).toBeLessThan(1e-4)
    for (const model of models) model.dispose()
  })
})

test.each([
  [
    { device: 'wasm', dtype: 'float16' },
    'dtype float16: needs TensorFlow, but the device is wasm; use float32',
  ],
  [
    { device: 'cpu', dtype: 'fp8' as Dtype },
    'dtype: is "fp8", expected one of float32, bfloat16, float16, auto',
  ],
] as const)('%o is an error', async (options, message) => {
  await expect(loadModel('models/moe', options)).rejects.toThrow(message)
  await startRuntime({ device: 'cpu' })
})
