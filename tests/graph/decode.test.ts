import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { argmax } from '../../src/model/most-likely.ts'
import { maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

const V = 40

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

test('greedy chooses the largest logit of forward, the lower index of a tie, alone and in a batch', () => {
  const model = randomModel({ E: 5, K: 2 })
  const table = model.weights.embedding.arraySync() as number[][]
  for (let token = 0; token < V / 2; token++) table[token + V / 2] = table[token] // tied weights: every logit occurs twice
  model.weights.embedding.dispose()
  model.weights.embedding = tf.tensor2d(table)
  model.weights.unembedding?.weight.dispose()
  model.weights.unembedding = null
  const recorded = new RecordedExecutor(model)
  const before = tf.memory().numTensors
  for (const prompts of [[[1, 2, 3]], [[4, 5, 6, 7, 8], [9], [10, 11]]]) {
    const caches = [model.createCache(), model.createCache()]
    let tokens = prompts
    for (let step = 0; step < 12; step++) {
      const logits = logitsOf(model.forward(tokens, { cache: caches[0], logits: 'last' }))
      const { tokens: chosen, trace } = recorded.greedy(tokens, { cache: caches[1], trace: true })
      const rows = prompts.map((_, b) => logits.subarray(b * V, (b + 1) * V))
      expect(chosen).toEqual(rows.map(argmax))
      expect(Math.max(...chosen)).toBeLessThan(V / 2)
      expect(trace?.layers).toHaveLength(model.config.layers.length)
      tokens = chosen.map((token) => [token])
    }
    for (const cache of caches) cache.dispose()
  }
  expect(tf.memory().numTensors).toBe(before)
  recorded.dispose()
  model.dispose()
})

test.each([Number.NEGATIVE_INFINITY, Number.NaN])(
  'greedy with a logit of %d: what the host makes of it',
  (odd) => {
    const model = randomModel({ tied: false })
    const bias = new Float32Array(V)
    const best = model.greedy([1, 2]).tokens[0]
    bias[best] = odd
    model.weights.unembedding!.bias = tf.tensor1d(bias)
    const recorded = new RecordedExecutor(model)
    const before = tf.memory().numTensors
    for (const greedy of [() => recorded.greedy([1, 2], {}), () => model.greedy([1, 2])]) {
      if (Number.isNaN(odd)) {
        expect(greedy).toThrow(`sampler: the logit of token ${best} is NaN, expected a finite number`)
      } else {
        const rest = logitsOf(model.forward([1, 2], { logits: 'last' }))
        expect(greedy().tokens).toEqual([argmax(rest)])
        expect(greedy().tokens).not.toEqual([best])
      }
    }
    expect(tf.memory().numTensors).toBe(before)
    recorded.dispose()
    model.dispose()
  },
)

test('sequences of different lengths write in a batch what each writes alone', () => {
  const model = randomModel({ E: 5, K: 2, layers: 3 })
  const recorded = new RecordedExecutor(model)
  const before = tf.memory().numTensors
  const write = (prompts: number[][], steps: number) => {
    const cache = model.createCache()
    let tokens = prompts
    const written = Array.from({ length: steps }, () => {
      const chosen = recorded.greedy(tokens, { cache }).tokens
      tokens = chosen.map((token) => [token])
      return chosen
    })
    cache.dispose()
    return prompts.map((_, b) => written.map((step) => step[b]))
  }
  const prompts = [17, 1, 6, 30].map((length, i) => randomTokens(length, V, i + 1))
  expect(write(prompts, 20)).toEqual(prompts.flatMap((prompt) => write([prompt], 20)))
  expect(tf.memory().numTensors).toBe(before)
  recorded.dispose()
  model.dispose()
})

describe.each(['recorded', 'eager'] as const)('a cache continued in several ways, %s', (executor) => {
  const prompts = [randomTokens(9, V, 1), randomTokens(4, V, 2)]
  const next = [[5], [6], [7], [8]]

  test.each([null, 5])('gives what starting anew gives (window %s)', (slidingWindow) => {
    const model = randomModel({ E: 5, K: 2, slidingWindow })
    const recorded = new RecordedExecutor(model)
    const by = executor === 'recorded' ? recorded : model
    const before = tf.memory().numTensors
    const cache = model.createCache()
    logitsOf(by.forward(prompts, { cache, logits: 'last' }))
    const parents = [1, 0, 1, 1]
    const forked = cache.select(parents)
    expect([forked.batch, forked.stored, cache.batch]).toEqual([4, cache.stored, 2])
    for (let step = 0; step < 3; step++) {
      const tokens = next.map(([token]) => [token + step])
      const logits = logitsOf(by.forward(tokens, { cache: forked, logits: 'last' }))
      parents.forEach((parent, b) => {
        const whole = [...prompts[parent], ...Array.from({ length: step + 1 }, (_, i) => next[b][0] + i)]
        const anew = logitsOf(model.forward(whole, { logits: 'last' }))
        expect(maxDifference(logits.subarray(b * V, (b + 1) * V), anew)).toBeLessThan(5e-5)
      })
    }
    // The one it came from goes on as if nothing had happened.
    const onwards = logitsOf(by.forward([[1], [2]], { cache, logits: 'last' }))
    const anew = logitsOf(model.forward([...prompts[1], 2], { logits: 'last' }))
    expect(maxDifference(onwards.subarray(V), anew)).toBeLessThan(5e-5)
    forked.dispose()
    cache.dispose()
    expect(tf.memory().numTensors).toBe(before)
    recorded.dispose()
    model.dispose()
  })
})

test('a cache selects only what it holds', () => {
  const model = randomModel()
  const cache = model.createCache()
  expect(() => cache.select([0])).toThrow('kvCache.select: was asked for sequence 0, and the cache holds 0')
  model.forward([[1], [2]], { cache }).logits.dispose()
  for (const [asked, named] of [
    [[0, 2], '2'],
    [[-1], '-1'],
    [[0.5], '0.5'],
    [[], 'none'],
  ] as const) {
    expect(() => cache.select(asked)).toThrow(
      `kvCache.select: was asked for sequence ${named}, and the cache holds 2, counted from 0`,
    )
  }
  cache.dispose()
  model.dispose()
})

test('caches that go from a prompt to decoding and back in turn keep what is theirs', () => {
  const model = randomModel({ layers: 3 })
  const recorded = new RecordedExecutor(model)
  const before = tf.memory().numTensors
  const caches = [0, 1].map(() => [model.createCache(), model.createCache()])
  const compare = (which: number, tokens: number[]) => {
    const [own, others] = caches[which]
    const expected = logitsOf(model.forward(tokens, { cache: own, logits: 'last' }))
    const actual = logitsOf(recorded.forward(tokens, { cache: others, logits: 'last' }))
    expect(maxDifference(actual, expected)).toBeLessThan(5e-5)
  }
  const prompt = (which: number) => compare(which, randomTokens(20, V, which + 1)) // by another session than single tokens
  const token = (which: number) => compare(which, randomTokens(1, V, which + 7))
  for (const step of [() => prompt(0), () => token(0), () => prompt(1), () => token(0), () => token(1)])
    step()
  for (const step of [() => token(0), () => prompt(0), () => token(1), () => token(0), () => prompt(1)])
    step()
  for (const cache of caches.flat()) cache.dispose()
  expect(tf.memory().numTensors).toBe(before)
  recorded.dispose()
  model.dispose()
})
