import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { DTYPES } from '../../src/backend/dtypes.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { piecesOf, roomFor, stepsPlanFor } from '../../src/graph/plan.ts'
import { loadModel } from '../../src/load-model.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { asOnCard } from '../cuda/card-steps.ts'
import { maxDifference } from '../helpers/golden.ts'

// Whole models by the graphs of a card, run by a processor.
beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

const tokens = (n: number) => Array.from({ length: n }, (_, i) => (i === 0 ? 1 : 49 + ((i * 37) % 900)))

describe.each(['moe', 'deepseek'])('%s', (name) => {
  test.each([...DISPATCHES, 'auto' as const])(
    'a prompt and tokens after it by %s dispatch: as op by op',
    async (dispatch) => {
      const model = await loadModel(`models/${name}`, { device: 'cpu', executor: 'eager', dispatch })
      const before = tf.memory().numTensors
      const card = new RecordedExecutor(model)
      const caches = [model.createCache(), model.createCache()]
      for (const call of [tokens(dispatch === 'gather' ? 2 : 20), [80], [313], [49, 52], [700]]) {
        const options = { logits: 'last', trace: true } as const
        const expected = model.forward(call, { ...options, cache: caches[0] })
        const actual = asOnCard(() => card.forward(call, { ...options, cache: caches[1] }))
        expect(maxDifference(actual.logits.dataSync(), expected.logits.dataSync())).toBeLessThan(2e-4)
        for (const [i, layer] of expected.trace.layers.entries()) {
          expect(actual.trace?.layers[i].expertIndices).toEqual(layer.expertIndices)
          const { expertWeights } = actual.trace?.layers[i] ?? {}
          expect(maxDifference(expertWeights as Float32Array, layer.expertWeights)).toBeLessThan(1e-5)
        }
        tf.dispose([expected.logits, actual.logits])
      }
      for (const cache of caches) asOnCard(() => cache.dispose())
      card.dispose()
      expect(tf.memory().numTensors).toBe(before)
      model.dispose()
    },
  )
})

test.each(DTYPES)('in %s a decoded token is near that of float32', async (dtype) => {
  const model = await loadModel('models/moe', { device: 'cpu', executor: 'eager' })
  const card = new RecordedExecutor(model, dtype)
  const caches = [model.createCache(), model.createCache()]
  const options = { logits: 'last' } as const
  const [expected, actual] = [
    model.forward([1], { ...options, cache: caches[0] }),
    asOnCard(() => card.forward([1], { ...options, cache: caches[1] })),
  ].map(({ logits }) => logits.dataSync() as Float32Array)
  const scale = Math.max(...expected.map(Math.abs))
  expect(maxDifference(actual, expected) / scale).toBeLessThan(
    { float32: 1e-5, float16: 0.01, bfloat16: 0.08 }[dtype],
  )
  for (const cache of caches) cache.dispose()
  card.dispose()
  model.dispose()
})

test('a card has few shapes of steps: at most three graphs at a time, whatever the conversation', async () => {
  const model = await loadModel('models/moe', { device: 'cpu', executor: 'eager' })
  const card = new RecordedExecutor(model)
  const seen: number[] = []
  for (const lengths of [
    [20, 1, 1],
    [300, 1, 3],
    [700, 1],
    [5, 1],
  ]) {
    const cache = model.createCache()
    for (const length of lengths) {
      asOnCard(() => card.greedy(tokens(length), { cache }))
      seen.push(card.numGraphs)
    }
    asOnCard(() => cache.dispose())
  }
  expect(seen).toEqual([1, 2, 2, 3, 3, 3, 3, 3, 3, 3])
  card.dispose()
  model.dispose()
})

test('the plan of steps follows the device', () => {
  const [card, processor] = [true, false].map((onCard) => stepsPlanFor({ onCard }))
  expect([card.graphs, processor.graphs]).toEqual([3, 12])
  expect(card.tokens.length).toBeLessThanOrEqual(card.graphs)
  expect(piecesOf(700, card)).toEqual([
    { from: 0, count: 512, stepTokens: 512 },
    { from: 512, count: 188, stepTokens: 512 },
  ])
  expect(piecesOf(3, card)).toEqual([{ from: 0, count: 3, stepTokens: 64 }])
  expect([1, 1024, 1025, 5000].map((columns) => roomFor(columns, card))).toEqual([1024, 1024, 4096, 16384])
  expect([1, 257, 5000].map((columns) => roomFor(columns, processor))).toEqual([256, 512, 8192])
  expect(LIMITS.cardSteps.padded).toBe(LIMITS.cardSteps.tokens.at(-1))
})
