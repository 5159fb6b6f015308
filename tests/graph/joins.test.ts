import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { CACHED_ATTENTION, FUSED, PRODUCT, ROUTE } from '../../src/backend/kernels.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { planFor } from '../../src/graph/plan.ts'
import { FLOAT } from '../../src/graph/protobuf.ts'
import { Readers } from '../../src/graph/readers.ts'
import { type Recording, record, sizeOf } from '../../src/graph/recorder.ts'
import { GraphSession, planned } from '../../src/graph/session.ts'
import { recordStep } from '../../src/graph/step.ts'
import { type RouterConfig, softmaxTopK } from '../../src/model/config.ts'
import { route } from '../../src/model/router/route.ts'
import { routeTensors } from '../../src/model/router/tensors.ts'
import { maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomMatrix, randomModel, randomNumbers, randomTokens } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

const few = () => planFor({ rows: 1 })

/** How often a run that fetches all outputs has each op. */
function opsOf(recording: Recording): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { op } of new Readers(planned(recording, few())).run) counts[op] = (counts[op] ?? 0) + 1
  return counts
}

test('a decoding step is a norm, a product, attention, a product, a norm, a router and its choice, and experts a layer', () => {
  const model = randomModel({ layers: 3, E: 4, K: 2 })
  const { config, weights } = model
  const shape = { batch: 1, tokens: 1, capacity: 64, dispatch: 'auto', logits: 'last' } as const
  const recording = recordStep(config, weights, shape, few())
  const { greedy } = recording.outputs
  const ops = opsOf({ ...recording, outputs: { greedy } })
  expect(ops[CACHED_ATTENTION]).toBe(3)
  expect(ops[ROUTE]).toBe(3)
  expect(ops[FUSED.experts.op]).toBe(3)
  expect(ops[FUSED.rmsNorm.op]).toBe(7)
  expect(ops[PRODUCT]).toBe(3 * 3 + 1) // queries with keys and values, output, router; the unembedding
  for (const op of ['InplaceUpdate', 'Softmax', 'TopKV2', FUSED.attention.op, FUSED.rope.op]) {
    expect(ops[op], op).toBeUndefined()
  }
  model.dispose()
})

describe('attention over a cache that it writes', () => {
  const sizes = fc.record({
    B: fc.integer({ min: 1, max: 3 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    G: fc.integer({ min: 1, max: 3 }),
    headDim: fc.constantFrom(2, 4, 6, 10, 16),
    longest: fc.integer({ min: 1, max: 5 }),
    slidingWindow: fc.constantFrom(null, 3),
    seed: fc.integer({ min: 1, max: 10_000 }),
  })

  test('equals the eager one, step by step, sequences of any length side by side', () => {
    fc.assert(
      fc.property(sizes, ({ B, kvHeads, G, headDim, longest, slidingWindow, seed }) => {
        const heads = G * kvHeads
        const model = randomModel({ seed, heads, kvHeads, D: heads * headDim, slidingWindow })
        const recorded = new RecordedExecutor(model)
        const before = tf.memory().numTensors
        const caches = [model.createCache(), model.createCache()]
        const lengths = Array.from({ length: B }, (_, b) => Math.max(1, longest - b))
        let tokens = lengths.map((length, b) => randomTokens(length, 40, seed + b))
        for (let step = 0; step < 4; step++) {
          const expected = logitsOf(model.forward(tokens, { cache: caches[0], logits: 'last' }))
          const actual = logitsOf(recorded.forward(tokens, { cache: caches[1], logits: 'last' }))
          expect(maxDifference(actual, expected)).toBeLessThan(2e-4)
          tokens = tokens.map((_, b) => randomTokens(1, 40, seed + 10 * step + b))
        }
        for (const cache of caches) cache.dispose()
        expect(tf.memory().numTensors).toBe(before)
        recorded.dispose()
        model.dispose()
      }),
      { numRuns: 25 },
    )
  })
})

describe('a choice', () => {
  const sizes = fc.record({
    T: fc.integer({ min: 1, max: 5 }),
    E: fc.constantFrom(1, 2, 4, 8, 16, 32, 48),
    k: fc.integer({ min: 1, max: 8 }),
    levels: fc.constantFrom(2, 5, 1000),
    weighting: fc.constantFrom<RouterConfig['weighting']>('scores', 'normalized', 'softmax-of-chosen'),
    seed: fc.nat(),
  })

  test('is the one of the steps, and ties go to the lower index', () => {
    fc.assert(
      fc.property(sizes, ({ T, E, k, levels, weighting, seed }) => {
        const K = Math.min(E, k)
        const scoring = weighting === 'softmax-of-chosen' ? 'none' : 'softmax'
        const config: RouterConfig = { ...softmaxTopK(E, K), scoring, weighting }
        const next = randomNumbers(seed)
        const logits = Float32Array.from({ length: T * E }, () => (Math.round(next() * levels) / levels) * 4)
        const { expertIndices, expertWeights } = route(logits, config)
        tf.tidy(() => {
          const x = tf.tensor2d(logits, [T, E])
          const recording = record({ x }, () => ({
            ...routeTensors(tf.add(x, 0), { config, scoreBias: null }),
          }))
          expect(opsOf(recording)[ROUTE]).toBe(1)
          const session = new GraphSession(recording, few())
          const [indices, weights] = session.fetch({ x }, ['expertIndices', 'expertWeights'])
          session.dispose()
          expect([...indices.data]).toEqual([...expertIndices])
          expect(maxDifference(weights.data as Float32Array, expertWeights)).toBeLessThan(1e-6)
        })
      }),
      { numRuns: 60 },
    )
  })
})

describe('sums', () => {
  const next = randomNumbers(5)
  const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))

  test.each([
    ['as many numbers', 3, 7, [3, 7]],
    ['a row', 3, 7, [1, 7]],
    ['a row of one axis', 3, 7, [7]],
    ['a column', 3, 7, [3, 1]],
    ['a number', 3, 7, [1, 1]],
    ['a row, of one row', 1, 9, [9]],
    ['one column', 5, 1, [5, 1]],
  ] as const)('a product takes what is added to it: %s', (_, rows, columns, shape) => {
    tf.tidy(() => {
      const [x, w] = [matrix(rows, 33), matrix(33, columns)]
      const added = tf.reshape(matrix(1, sizeOf(shape)), [...shape])
      const f = (given: tf.Tensor2D, also: tf.Tensor) => tf.add(also, tf.matMul(given, w))
      const recording = record({ x, added }, () => ({ y: f(x, added) }))
      const ops = opsOf(recording)
      expect(ops[PRODUCT]).toBe(1)
      expect(ops.AddV2 ?? ops.Add).toBeUndefined()
      const session = new GraphSession(recording, few())
      const [{ data }] = session.fetch({ x, added }, ['y'])
      session.dispose()
      expect(maxDifference(data as Float32Array, f(x, added).dataSync() as Float32Array)).toBeLessThan(1e-5)
    })
  })

  test.each([
    ['a row beside a column', 3, 1, [3]],
    ['a column beside a row', 1, 3, [3, 1]],
    ['more rows', 1, 3, [2, 3]],
  ] as const)('what would make the product larger is refused: %s', (_, rows, columns, shape) => {
    tf.tidy(() => {
      const [x, w] = [matrix(rows, 5), matrix(5, columns)]
      const added = tf.zeros([...shape])
      const session = new GraphSession(
        record({ x, added }, () => ({ y: tf.add(tf.matMul(x, w), added) })),
        few(),
      )
      expect(() => session.fetch({ x, added }, ['y'])).toThrow('what is added has another shape')
      session.dispose()
    })
  })

  test('a product that is fetched as well stays by itself', () => {
    tf.tidy(() => {
      const [x, w] = [matrix(2, 5), matrix(5, 4)]
      const recording = record({ x }, () => {
        const product = tf.matMul(x, w)
        return { product, y: tf.add(product, 1) }
      })
      expect(opsOf(recording).AddV2 ?? opsOf(recording).Add).toBe(1)
    })
  })

  test('a product that is read by another name as well stays by itself, and so does one that is there only when another node has run', () => {
    tf.tidy(() => {
      const [x, w] = [matrix(2, 5), matrix(5, 4)]
      const named = (after: 'read as well' | 'waited for') =>
        record({ x }, (recorder) => {
          const product = tf.matMul(x, w)
          const other = tf.square(x)
          const control = after === 'waited for' ? [`^${recorder.ref(other)}`] : []
          const name = recorder.emit('Identity', [recorder.ref(product), ...control], { T: FLOAT })
          const y = tf.add(recorder.bind(tf.zerosLike(product), name), 1)
          const outputs: Record<string, tf.Tensor> = after === 'waited for' ? { y } : { y, product }
          return outputs
        })
      for (const recording of [named('read as well'), named('waited for')]) {
        const ops = opsOf(recording)
        expect([ops[PRODUCT], ops.AddV2 ?? ops.Add, ops.Identity]).toEqual([1, 1, 1])
      }
    })
  })
})
