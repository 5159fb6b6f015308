import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { piecesOf } from '../../src/graph/plan.ts'
import type { KvCache } from '../../src/model/kv-cache.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

const V = 40

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const lengthsOf = (minLength: number, maxLength: number) =>
  fc.array(fc.integer({ min: 1, max: 20 }), { minLength, maxLength })

test('recorded equals eager for random shapes, batches and cuts of the prompt', () => {
  const shapes = fc.record({
    E: fc.integer({ min: 1, max: 6 }),
    K: fc.integer({ min: 1, max: 3 }),
    kvHeads: fc.constantFrom(1, 2, 4),
    slidingWindow: fc.option(fc.integer({ min: 1, max: 9 })),
    tied: fc.boolean(),
    lengths: fc.oneof(lengthsOf(1, 3), lengthsOf(5, 9)), // few sequences, and several, whose steps other kernels multiply
    steps: fc.integer({ min: 1, max: 4 }),
    dispatch: fc.constantFrom(...DISPATCHES, 'auto' as const),
    seed: fc.nat({ max: 1000 }),
  })
  fc.assert(
    fc.property(shapes, ({ lengths, steps, dispatch, ...shape }) => {
      const before = tf.memory().numTensors
      const model = randomModel({ ...shape, K: Math.min(shape.K, shape.E) })
      const recorded = new RecordedExecutor(model)
      const caches = [model.createCache(), model.createCache()]
      const compare = (tokens: number[][], logits: 'all' | 'last') => {
        const eager = logitsOf(model.forward(tokens, { cache: caches[0], dispatch, logits }))
        const graph = logitsOf(recorded.forward(tokens, { cache: caches[1], dispatch, logits }))
        expect(maxDifference(graph, eager)).toBeLessThan(5e-5)
      }
      compare(
        lengths.map((length, i) => randomTokens(length, V, i + 1)),
        lengths.length > 1 ? 'last' : 'all',
      )
      for (let step = 0; step < steps; step++)
        compare(
          lengths.map((_, i) => [(7 * step + i) % V]),
          'last',
        )
      for (const cache of caches) cache.dispose()
      recorded.dispose()
      model.dispose()
      expect(tf.memory().numTensors).toBe(before)
    }),
    { numRuns: 16 },
  )
})

describe('one model', () => {
  let model: MoeModel
  let recorded: RecordedExecutor
  beforeAll(() => {
    model = randomModel({ E: 5, K: 2 })
    recorded = new RecordedExecutor(model)
  })
  const run = (cache: KvCache, tokens: number[], executor: 'recorded' | 'eager' = 'recorded') =>
    logitsOf((executor === 'recorded' ? recorded : model).forward(tokens, { cache, logits: 'last' }))

  test('a cache may go back and forth between executors, and two may take turns in one graph', () => {
    const tokens = randomTokens(12, V, 9)
    const other = randomTokens(12, V, 10)
    const expected = [tokens, other].map((ids) => logitsOf(model.forward(ids)))
    const a = model.createCache()
    const b = model.createCache()
    tokens.forEach((token, i) => {
      const executor = i % 3 === 2 ? 'eager' : 'recorded'
      expect(maxDifference(run(a, [token], executor), expected[0].subarray(i * V, (i + 1) * V))).toBeLessThan(
        5e-5,
      )
      expect(maxDifference(run(b, [other[i]]), expected[1].subarray(i * V, (i + 1) * V))).toBeLessThan(5e-5)
    })
    a.dispose()
    b.dispose()
  })

  test('an eager forward takes a cache out of a graph whole', () => {
    const tokens = randomTokens(8, V, 3)
    const before = tf.memory().numTensors
    const cache = model.createCache()
    run(cache, tokens.slice(0, 6))
    run(cache, tokens.slice(6, 7), 'eager')
    const last = run(cache, tokens.slice(7), 'eager')
    expect(maxDifference(last, logitsOf(model.forward(tokens)).slice(-V))).toBeLessThan(5e-5)
    cache.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })

  test('a graph that is given up hands its cache back', () => {
    const tokens = randomTokens(5, V, 6)
    const cache = model.createCache()
    run(cache, tokens.slice(0, 4))
    const other = new RecordedExecutor(model)
    const moved = logitsOf(other.forward(tokens.slice(4), { cache, logits: 'last' })) // held by the other's graph now
    other.dispose()
    expect(maxDifference(moved, logitsOf(model.forward(tokens)).slice(-V))).toBeLessThan(5e-5)
    const next = run(cache, [7])
    expect(maxDifference(next, logitsOf(model.forward([...tokens, 7])).slice(-V))).toBeLessThan(5e-5)
    cache.dispose()
  })

  test('a prompt longer than the first room grows the cache', () => {
    const tokens = randomTokens(300, V, 4)
    const expected = logitsOf(model.forward(tokens))
    const cache = model.createCache()
    run(cache, tokens.slice(0, 250))
    const last = tokens.slice(250).map((token) => run(cache, [token]))
    expect(maxDifference(last[last.length - 1], expected.slice(-V))).toBeLessThan(5e-5)
    cache.dispose()
  })

  test('the trace is that of the eager forward, padding left out', () => {
    const batch = [randomTokens(9, V, 1), randomTokens(70, V, 2)]
    const eager = model.forward(batch, { trace: true })
    const graph = recorded.forward(batch, { trace: true })
    expect(graph.trace?.rows).toEqual(eager.trace?.rows)
    graph.trace?.layers.forEach((layer, i) => {
      const expected = eager.trace!.layers[i]
      expect([...layer.expertIndices]).toEqual([...expected.expertIndices])
      expect([...layer.tokensPerExpert]).toEqual([...expected.tokensPerExpert])
      expect(maxDifference(layer.expertWeights, expected.expertWeights)).toBeLessThan(1e-5)
      expect(maxDifference(layer.routerLogits, expected.routerLogits)).toBeLessThan(5e-5)
    })
    tf.dispose([eager.logits, graph.logits])
  })
})

test.each([130, 2 ** 40])('a sliding window of %i, before and after columns are cut off', (slidingWindow) => {
  const model = randomModel({ layers: 2, slidingWindow })
  const recorded = new RecordedExecutor(model)
  const caches = [model.createCache(), model.createCache()]
  const calls = [250, 5, 5, 260, 3, 1] // rooms of 256, 512, 1024 columns
  calls.forEach((length, i) => {
    const tokens = randomTokens(length, V, i + 1)
    const eager = logitsOf(model.forward(tokens, { cache: caches[0], logits: 'last' }))
    const graph = logitsOf(recorded.forward(tokens, { cache: caches[1], logits: 'last' }))
    expect(maxDifference(graph, eager)).toBeLessThan(5e-5)
  })
  for (const cache of caches) cache.dispose()
  recorded.dispose()
  model.dispose()
})

test('a NaN in a router is an error that names layer and token', () => {
  const model = randomModel()
  const { feedForward } = model.weights.blocks[1]
  if (feedForward.kind !== 'moe') throw new Error('expected a mixture')
  const router = feedForward.router.weight.arraySync()
  router[0][2] = Number.NaN
  feedForward.router.weight.dispose()
  feedForward.router.weight = tf.tensor2d(router)
  const recorded = new RecordedExecutor(model)
  const before = tf.memory().numTensors
  expect(() => recorded.forward([1, 2, 3], {})).toThrow(
    'router of layer 1: token 0 of sequence 0 has logit NaN for expert 2',
  )
  expect(tf.memory().numTensors).toBe(before)
  recorded.dispose()
  model.dispose()
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
  'a token whose embedding is %d is the one that the error names, on every path',
  (bad) => {
    const model = randomModel()
    const values = model.weights.embedding.arraySync() as number[][]
    values[7][0] = bad
    model.weights.embedding.dispose()
    model.weights.embedding = tf.tensor2d(values)
    const recorded = new RecordedExecutor(model)
    const forwards = {
      'eager, on the device': (tokens: number[][], cache: KvCache) => model.forward(tokens, { cache }),
      'eager, on the host': (tokens: number[][], cache: KvCache) =>
        model.forward(tokens, { cache, interventions: { topK: 1 } }),
      recorded: (tokens: number[][], cache: KvCache) => recorded.forward(tokens, { cache }),
    }
    const before = tf.memory().numTensors
    for (const [path, forward] of Object.entries(forwards)) {
      const cache = model.createCache()
      const prompts = [
        [1, 2],
        [3, 4, 5, 6],
      ]
      logitsOf(forward(prompts, cache))
      // Fed by itself: attention's products carry a NaN to the tokens before it too, as 0 x NaN.
      expect(() => forward([[8], [7]], cache), path).toThrow(
        /^router of layer 0: token 4 of sequence 1 has logit (NaN|-?Infinity) for expert 0, expected a finite number$/,
      )
      cache.dispose()
    }
    expect(tf.memory().numTensors).toBe(before)
    recorded.dispose()
    model.dispose()
  },
)

test('interventions run eagerly on the cache of recorded steps, alone and in a padded batch', () => {
  const model = randomModel({ E: 5, K: 2 })
  const recorded = new RecordedExecutor(model)
  const calls: [number[][], Interventions | undefined][] = [
    [[[1, 2, 3], [4]], undefined],
    [[[5], [6]], { topK: 1, disable: [{ expert: 0 }] }],
    [[[7], [8]], undefined],
    [
      [
        [9, 10],
        [11, 12],
      ],
      { topK: 5 },
    ],
    [[[13, 14], [15]], { force: [{ position: 6, experts: [4], sequence: 0 }] }],
    [[[16], [17]], undefined],
  ]
  const caches = [model.createCache(), model.createCache()]
  for (const [tokens, interventions] of calls) {
    const options = { interventions, trace: true }
    const mixed = RecordedExecutor.serves(options) ? recorded : model
    expect(mixed === recorded).toBe(interventions === undefined)
    const expected = model.forward(tokens, { ...options, cache: caches[0] })
    const actual = mixed.forward(tokens, { ...options, cache: caches[1] })
    expect(actual.trace?.rows).toEqual(expected.trace?.rows)
    expect(actual.trace?.layers.map((l) => [...l.expertIndices])).toEqual(
      expected.trace?.layers.map((l) => [...l.expertIndices]),
    )
    // Rows of padding hold nothing that anyone reads; the last rows are always tokens.
    expect(maxDifference(lastRowsOf(actual.logits), lastRowsOf(expected.logits))).toBeLessThan(5e-5)
  }
  for (const cache of caches) cache.dispose()
  recorded.dispose()
  model.dispose()
})

/** Logits [B, T, V] at the last T of each sequence. */
function lastRowsOf(logits: tf.Tensor): Float32Array {
  const [, T] = logits.shape
  const last = tf.tidy(() => tf.slice(logits, [0, T - 1, 0], [-1, 1, -1]).dataSync() as Float32Array)
  logits.dispose()
  return last
}

test('10,000 decode steps grow neither tensors nor memory', () => {
  const model = randomModel({ layers: 1, slidingWindow: 20 })
  const recorded = new RecordedExecutor(model)
  const cache = model.createCache()
  const step = (i: number) => logitsOf(recorded.forward([i % V], { cache, logits: 'last' }))
  for (let i = 0; i < 1000; i++) step(i)
  const tensors = tf.memory().numTensors
  const resident = process.memoryUsage().rss
  for (let i = 0; i < 9000; i++) step(i)
  expect(tf.memory().numTensors).toBe(tensors)
  expect(process.memoryUsage().rss - resident).toBeLessThan(64 * 2 ** 20) // the JavaScript heap breathes by this much
  cache.dispose()
  recorded.dispose()
  model.dispose()
})

test('pieces cover the prompt, few and with little padding', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 3000 }), (T) => {
      const pieces = piecesOf(T)
      let from = 0
      for (const piece of pieces) {
        expect(piece.from).toBe(from)
        expect(piece.stepTokens).toBeGreaterThanOrEqual(piece.count)
        from += piece.count
      }
      expect(from).toBe(T)
      const computed = pieces.reduce((sum, piece) => sum + piece.stepTokens, 0)
      expect(computed - T).toBeLessThan(32)
      expect(pieces.length).toBeLessThanOrEqual(Math.floor(T / 512) + 4)
    }),
  )
  expect(piecesOf(300)).toEqual([
    { from: 0, count: 256, stepTokens: 256 },
    { from: 256, count: 44, stepTokens: 64 },
  ])
})
