import * as tf from '@tensorflow/tfjs-core'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Case } from '../../bench/cases/case.ts'
import { digest, finish, READ_WHOLE_UP_TO } from '../../bench/cases/finish.ts'
import { layerCase } from '../../bench/cases/layer.ts'
import { MeasuredModel, PromptCaches, TwinModel, twinConfig } from '../../bench/cases/measured-model.ts'
import { weightSets } from '../../bench/cases/memory.ts'
import { modelCase } from '../../bench/cases/model.ts'
import { benchText } from '../../bench/cases/model-text.ts'
import { randomLayer } from '../../bench/cases/random-layer.ts'
import { RandomTensors, randomFeedForward, tensorsOf } from '../../bench/cases/random-weights.ts'
import { RecordedComputation } from '../../bench/cases/recorded-layer.ts'
import { type MeasureOptions, measureCase } from '../../bench/measure.ts'
import { makePlan } from '../../bench/plan.ts'
import { PRESET_PLANS } from '../../bench/presets.ts'
import { remarks } from '../../bench/report/remarks.ts'
import { holdRounded } from '../../src/backend/held.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { packWeights } from '../../src/checkpoint/pack.ts'
import { countMatmulFlops, countParameters, forwardFlops } from '../../src/cost/index.ts'
import { startRuntime } from '../../src/device/index.ts'
import { ExpertCache } from '../../src/model/expert-cache.ts'
import { applyExpert } from '../../src/model/experts.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { weightTable } from '../../src/model/weight-table.ts'
import { allTensors } from '../../src/model/weights.ts'
import { fixtureModel } from '../helpers/golden.ts'
import { randomModel, randomNumbers } from '../helpers/random.ts'
import { report } from './rows.ts'

const DIMS = { D: 16, H: 8, E: 4, K: 2 }
const LAYER = {
  T: 8, routing: 'real', executors: ['eager'], twins: false, sets: 1, fromCache: false, dtype: 'float32', seed: 1,
} as const // biome-ignore format: a case
const OPTIONS: MeasureOptions = {
  limits: { budgetMs: 100, minSamples: 3, maxSamples: 3 },
  most: { tellingMs: 1e6, allMs: 1e6 },
  machine: { matmulGflops: 100, memoryGbPerS: 10, matmulSize: 8, vectorBytes: 8 },
  memory: () => null,
  seed: 1,
  signal: new AbortController().signal,
}

let before: number
beforeEach(() => {
  before = tf.memory().numTensors
})
afterEach(() => {
  expect(tf.memory().numTensors).toBe(before)
})

describe('on native TensorFlow', () => {
  beforeAll(async () => {
    await startRuntime({ device: 'cpu' })
  })

  // The first x is fed to the graph, the second is a variable of it.
  test.each([8, 100])('a recorded layer computes what the layer computes, T=%i', (T) => {
    const layer = randomLayer(DIMS, 1)
    const x = new RandomTensors(2).matrix(T, DIMS.D, 1)
    for (const dispatch of ['dense', 'sparse', 'gather'] as const) {
      const compute = () =>
        tf.tidy(
          () =>
            routeAndDispatch(x, linear(x, layer.weights.router), layer.weights, layer.config, dispatch)
              .output,
        )
      const recorded = new RecordedComputation(x, compute)
      const [eager, replayed] = [compute(), recorded.run()]
      const furthest = tf.tidy(() => tf.max(tf.abs(tf.sub(eager, replayed))).dataSync()[0])
      expect(furthest).toBeLessThan(1e-5)
      tf.dispose([eager, replayed])
      recorded.dispose()
    }
    x.dispose()
    layer.dispose()
  })

  test('a graph is not computed once and for all: its products run at every run', () => {
    const layer = randomLayer(DIMS, 1)
    const x = new RandomTensors(2).matrix(4, DIMS.D, 1)
    const recorded = new RecordedComputation(x, () => applyExpert(x, layer.weights.experts[0]))
    const counts = [1, 2].map(() => {
      const { flops, result } = countMatmulFlops(() => recorded.run())
      result.dispose()
      return flops
    })
    expect(counts).toEqual([2 * 4 * 3 * DIMS.D * DIMS.H, 2 * 4 * 3 * DIMS.D * DIMS.H])
    recorded.dispose()
    x.dispose()
    layer.dispose()
  })

  test('a large result is read as one sum that depends on all of it', () => {
    const large = tf.ones([READ_WHOLE_UP_TO + 1])
    const small = tf.ones([3])
    expect(digest(small)).toBe(small)
    const sum = digest(large)
    expect([sum.shape, sum.dataSync()[0]]).toEqual([[], READ_WHOLE_UP_TO + 1])
    finish(large)
    tf.dispose([large, small, sum])
  })
})

describe('sets of weights', () => {
  beforeAll(async () => {
    await startRuntime({ device: 'js' })
  })

  const machine = { matmulGflops: 100, memoryGbPerS: 10 }
  const dims = { D: 512, H: 1024, E: 16, K: 2 } // 101 MB, an expert 6.3 MB
  const setsAt = (T: number, cacheBytes: number) => weightSets(dims, T, { cacheBytes, machine })

  test('are as many as exceed the caches, and no more than memory is set aside for', () => {
    // Of dense, sparse and gather a call at T=1 reads (101 + 2 x 12.6) / 3 = 42 MB on average.
    expect(setsAt(1, 100e6)).toBe(1 + 3)
    expect(setsAt(1, 1e9)).toBe(10) // 1 GiB by 101 MB
    expect(setsAt(1, 5e6)).toBe(1) // a call alone drives out what it began with
  })

  test('are one where arithmetic takes far longer than reading: 4096 rows', () => {
    expect(setsAt(4096, 1e9)).toBe(1)
  })

  test('hold the same numbers, and every call takes the next one, whoever makes it', () => {
    const layer = randomLayer(DIMS, 1)
    const work = layerCase(layer, { ...LAYER, sets: 3 })
    const opened = work.variants.map((variant) => variant.open())
    const [first, ...others] = layer.sets(3)
    for (const { experts } of others)
      expect(experts[1].down.weight.dataSync()).toEqual(first.experts[1].down.weight.dataSync())
    const used: number[] = []
    layer.sets(3).forEach(({ router }, set) => {
      const { weight } = router
      const get = () => {
        used.push(set)
        return weight
      }
      Object.defineProperty(router, 'weight', { get })
    })
    for (const i of [0, 1, 2, 1, 0]) {
      opened[i].prepare?.()
      opened[i].run()
    }
    expect(used).toEqual([0, 1, 2, 0, 1])
    for (const one of opened) one.dispose()
    work.dispose()
    layer.dispose()
  })

  test('a graph reads the set that it is given, without a copy', async () => {
    await startRuntime({ device: 'cpu' })
    const layer = randomLayer({ ...DIMS, D: 64, H: 32 }, 1)
    const x = new RandomTensors(2).matrix(8, 64, 1)
    const [first, second] = layer.sets(2)
    const { down } = second.experts[0]
    const other = { ...second.experts[0], down: { ...down, weight: tf.mul(down.weight, 2) as tf.Tensor2D } }
    const recorded = new RecordedComputation(x, () => applyExpert(x, first.experts[0]))
    const tensorsOf = ({ gateUp, down }: typeof other) => [gateUp.weight, down.weight]
    const outputs = [first.experts[0], other, first.experts[0]].map((expert) => {
      recorded.use(tensorsOf(first.experts[0]), tensorsOf(expert))
      return recorded.run()
    })
    const [once, twice, again] = outputs.map((output) => output.dataSync())
    expect(again).toEqual(once)
    expect([...twice].every((value, i) => Math.abs(value - 2 * once[i]) < 1e-5)).toBe(true)
    tf.dispose([x, other.down.weight, ...outputs])
    recorded.dispose()
    layer.dispose()
  })

  test('name their tensors alike, whatever order a set was put together in: a recorded layer runs on each', async () => {
    await startRuntime({ device: 'cpu' })
    const layer = randomLayer({ ...DIMS, D: 64, H: 32 }, 1)
    const [first, second] = layer.sets(2).map(tensorsOf)
    for (const [i, tensor] of first.entries()) expect(second[i].dataSync()).toEqual(tensor.dataSync())
    const work = layerCase(layer, { ...LAYER, T: 64, executors: ['recorded'], sets: 2 })
    for (const variant of work.variants) {
      const open = variant.open()
      for (let call = 0; call < 3; call++) {
        open.prepare?.()
        open.run()
      }
      open.dispose()
    }
    work.dispose()
    layer.dispose()
  })
})

describe('half precision', () => {
  beforeAll(async () => {
    await startRuntime({ device: 'cpu' })
  })

  test('a recorded layer in bfloat16 is near the one in float32, reads half the bytes, and counts the same FLOPs', async () => {
    const layer = randomLayer({ ...DIMS, D: 64, H: 32 }, 1) // a graph has smaller matrices as constants
    const options = { ...LAYER, T: 64, executors: ['recorded'] } as const
    const [plain, half] = [options, { ...options, dtype: 'bfloat16' as const }].map((one) =>
      layerCase(layer, one),
    )
    const [inFloat, inHalf] = [await measureCase(plain, OPTIONS), await measureCase(half, OPTIONS)]
    for (const [i, row] of inHalf.entries()) {
      expect(row.flopsCounted).toBe(inFloat[i].flopsCounted)
      expect(row.weightBytes).toBe(inFloat[i].weightBytes! / 2)
    }
    plain.dispose()
    half.dispose()
    const x = new RandomTensors(2).matrix(64, 64, 1)
    const { experts } = layer.weights
    const { gateUp, down } = experts[0]
    const [heldGateUp, heldDown] = [gateUp, down].map(({ weight }) => ({
      weight: holdRounded(activeTensorflow(), weight, 'bfloat16'),
      bias: null,
    }))
    const held = { gateUp: heldGateUp, down: heldDown }
    const recorded = new RecordedComputation(x, () => applyExpert(x, held), 'bfloat16')
    const furthest = tf.tidy(
      () => tf.max(tf.abs(tf.sub(applyExpert(x, experts[0]), recorded.run()))).dataSync()[0],
    )
    expect(furthest).toBeGreaterThan(0)
    expect(furthest).toBeLessThan(0.02)
    recorded.dispose()
    tf.dispose([heldGateUp.weight, heldDown.weight])
    x.dispose()
    layer.dispose()
  })
})

describe('twins', () => {
  beforeAll(async () => {
    await startRuntime({ device: 'js' })
  })

  test.each(['mixtral', 'glm4_moe'] as const)('of %s have the size that their name says', (family) => {
    const model = fixtureModel(family)
    const { config } = model
    const parts = (of: typeof config, dispatch: 'dense' | 'sparse') => {
      const { experts, sharedExperts } = forwardFlops(of, { tokens: 5, context: 5, logitRows: 1, dispatch })
      return experts + sharedExperts
    }
    expect(parts(twinConfig(config, 'twin-active'), 'sparse')).toBe(parts(config, 'sparse'))
    expect(parts(twinConfig(config, 'twin-total'), 'sparse')).toBe(parts(config, 'dense'))
    const weights = (of: typeof config) => {
      const { experts, sharedExperts, dense } = countParameters(of).parts
      return experts + sharedExperts + dense
    }
    expect(weights(twinConfig(config, 'twin-total'))).toBe(weights(config))
    const twin = new TwinModel(model, 'twin-active', 1)
    const { logits } = twin.forward([[1, 2, 3]], 'eager', {})
    expect(Array.from(logits.dataSync()).every(Number.isFinite)).toBe(true)
    logits.dispose()
    twin.dispose()
    model.dispose()
  })

  test('a random feed-forward has gate and up above each other, as the engine stores them', () => {
    const { gateUp, down } = randomFeedForward(6, 10, new RandomTensors(1))
    expect([gateUp.weight.shape, down.weight.shape]).toEqual([
      [20, 6],
      [6, 10],
    ])
    tf.dispose([gateUp.weight, down.weight])
  })
})

describe('a case', () => {
  beforeAll(async () => {
    await startRuntime({ device: 'js' })
  })

  /** A layer's case and what of it one variant really runs. */
  async function measured(change: (work: Case) => Partial<Case>, options: Partial<MeasureOptions> = {}) {
    const layer = randomLayer(DIMS, 1)
    const work = layerCase(layer, LAYER)
    try {
      return await measureCase({ ...work, ...change(work) }, { ...OPTIONS, ...options })
    } finally {
      work.dispose()
      layer.dispose()
    }
  }

  test('whose sparse dispatch runs every expert after all is found out by its count', async () => {
    const rows = await measured(({ variants: [dense, sparse] }) => ({
      variants: [dense, { ...sparse, open: dense.open }],
    }))
    expect(rows[1].flopsCounted).toBeGreaterThan(rows[1].flops)
    expect(remarks(report(rows))).toContainEqual(
      'Counted FLOPs differ from the formula: layer/D16-H8-E4-K2/T8/real/sparse/eager.',
    )
  })

  test('leaves out what the machine is too slow for, and keeps the rest', async () => {
    // At a pretended 1e-5 GFLOP/s dense would take 2.5 s a run, sparse 1.3 s, and 5 of them have 8 s.
    const machine = { ...OPTIONS.machine, matmulGflops: 1e-5 }
    const [dense, sparse] = await measured(() => ({}), { machine, most: { tellingMs: 8000, allMs: 0 } })
    expect(dense).toMatchObject({ n: 0, medianMs: null, flopsCounted: null, speedup: null, p99Ms: null })
    expect(dense.skipped).toMatch(
      /^about \S+ s a run at the speed of the machine's matrix product, too long to repeat 5 times in 8.0 s /,
    )
    expect(sparse).toMatchObject({ skipped: null, n: 3, speedup: null, speedupLow: null })
  })

  test('leaves out what the variants before it have left no time for', async () => {
    const rows = await measured(() => ({}), { most: { tellingMs: 1e6, allMs: 0 } })
    expect(rows.map(({ dispatch, skipped }) => [dispatch, skipped])).toEqual([
      ['dense', null],
      ['sparse', null],
      ['gather', 'the time of its case was spent'],
    ])
  })

  test('leaves out what there is no memory for, with the reason', async () => {
    const rows = await measured(() => ({}), { memory: () => 10 })
    for (const { skipped, n } of rows) {
      expect(n).toBe(0)
      expect(skipped).toMatch(/^needs about \S+ GB of memory, and \S+ GB may be used$/)
    }
  })

  test('is the same at every start: weights, routing, FLOPs', () => {
    const [first, second] = [1, 2].map(() => {
      const layer = randomLayer({ ...DIMS, E: 8 }, 3)
      const work = layerCase(layer, { ...LAYER, T: 32 })
      work.dispose()
      layer.dispose()
      return { spread: work.spread, flops: work.variants.map(({ flops }) => flops) }
    })
    expect(first).toEqual(second)
    expect(first.spread.meanTokens).toBe(8)
    expect(first.spread.maxTokens).toBeGreaterThan(first.spread.minTokens)
  })

  test('of a model of short context gets a prompt that fits, and decodes within its window', async () => {
    const model = randomModel({ slidingWindow: 4 })
    const config = { ...model.config, maxPositionEmbeddings: 10 }
    const plan = makePlan(PRESET_PLANS.default, { dims: DIMS, tokens: [1] }, config)
    expect([plan.baseContext, plan.steps]).toEqual([5, 4])
    const measuredModel = new MeasuredModel(config, model.weights)
    const options = {
      batch: 2,
      context: 5,
      steps: 4,
      executors: ['eager'],
      twins: false,
      dtype: 'float32',
      seed: 1,
    } as const
    const text = await benchText(config, null, 1)
    for (const [kind, expected] of [
      ['prefill', { tokens: 10, context: 5, callsPerRun: 1 }],
      ['decode', { tokens: 2, context: 4, callsPerRun: 4 }],
    ] as const) {
      const work = modelCase(measuredModel, text, kind, options)
      expect(work).toMatchObject(expected)
      for (const row of await measureCase(work, OPTIONS)) expect(row.flopsCounted, row.id).toBe(row.flops)
      work.dispose()
    }
    measuredModel.dispose()
    model.dispose()
  })

  test('of experts that stay on disk, rows say which share was in memory', async () => {
    const { config, weights } = randomModel({ layers: 2, E: 4, K: 2 })
    const numbers = randomNumbers(1)
    const source = (_: unknown, target: Float32Array) => target.set(Array.from(target, numbers))
    const text = await benchText(config, null, 1)
    for (const [room, rate] of [
      [8, 1], // both layers' after the untimed calls
      [1, 0], // one after the other
    ]) {
      const onDisk = new ExpertCache(room * 3 * 16 * 24 * 4)
      const model = new MoeModel(config, packWeights(weightTable(config), source, { onDisk }))
      const measuredModel = new MeasuredModel(config, model.weights)
      const options = {
        batch: 1,
        context: 4,
        steps: 3,
        executors: ['recorded'],
        twins: false,
        dtype: 'float32',
        seed: 1,
      } as const
      const work = modelCase(measuredModel, text, 'decode', options)
      const rows = await measureCase(work, OPTIONS)
      expect(rows.find(({ dispatch }) => dispatch === 'dense')?.expertHitRate).toBe(rate)
      work.dispose()
      measuredModel.dispose()
      model.dispose()
    }
    tf.dispose(allTensors(weights))
  })

  test('decodes behind a shared prompt as behind one that was read for it', () => {
    const model = randomModel()
    const prompts = [
      [1, 2, 3, 4],
      [5, 6, 7, 8],
    ]
    const read = model.createCache()
    tf.dispose(model.forward(prompts, { cache: read }).logits)
    const own = model.forward([[9], [1]], { cache: read }).logits
    const caches = new PromptCaches(model, prompts)
    for (let run = 0; run < 2; run++) {
      const shared = model.forward([[9], [1]], { cache: caches.fresh() }).logits
      expect(Array.from(shared.dataSync())).toEqual(Array.from(own.dataSync()))
      shared.dispose()
    }
    caches.dispose()
    read.dispose()
    own.dispose()
    model.dispose()
  })
})
