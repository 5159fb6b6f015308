import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

const V = 40

describe.each(['cpu', 'wasm', 'js'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await startRuntime({ device })
  })

  test.each([
    { slidingWindow: null, kvHeads: 2, tied: false },
    { slidingWindow: 5, kvHeads: 1, tied: true },
    { slidingWindow: 1, kvHeads: 4, tied: false },
  ])('a prompt whole = token by token = in pieces through the cache (%o)', (shape) => {
    const model = randomModel(shape)
    const tokens = randomTokens(17, V, 5)
    const whole = logitsOf(model.forward(tokens))
    for (const pieces of [tokens.map(() => 1), [6, 6, 5], [16, 1]]) {
      const cache = model.createCache()
      let from = 0
      const parts = pieces.flatMap((size) => {
        const part = logitsOf(model.forward(tokens.slice(from, from + size), { cache }))
        from += size
        return [...part]
      })
      expect(cache.length).toBe(tokens.length)
      expect(maxDifference(parts, whole)).toBeLessThan(2e-5)
      cache.dispose()
    }
    model.dispose()
  })

  test('a ragged batch = each sequence alone, prompt and continuation', () => {
    const model = randomModel({ slidingWindow: 6 })
    const prompts = [randomTokens(9, V, 1), randomTokens(3, V, 2), randomTokens(12, V, 3)]
    const cache = model.createCache()
    const first = logitsOf(model.forward(prompts, { cache, logits: 'last' }))
    const second = logitsOf(model.forward([[7], [8], [9]], { cache, logits: 'last' }))
    prompts.forEach((prompt, b) => {
      const alone = model.createCache()
      const row = (values: Float32Array) => values.slice(b * V, (b + 1) * V)
      expect(
        maxDifference(row(first), logitsOf(model.forward(prompt, { cache: alone, logits: 'last' }))),
      ).toBeLessThan(2e-5)
      expect(maxDifference(row(second), logitsOf(model.forward([7 + b], { cache: alone })))).toBeLessThan(
        2e-5,
      )
      alone.dispose()
    })
    cache.dispose()
    model.dispose()
  })

  test('all dispatches give the same logits', () => {
    const model = randomModel({ E: 6, K: 3 })
    const tokens = randomTokens(11, V, 8)
    const [dense, ...others] = DISPATCHES.map((dispatch) => logitsOf(model.forward(tokens, { dispatch })))
    for (const other of others) expect(maxDifference(other, dense)).toBeLessThan(2e-5)
    model.dispose()
  })

  test('the last logits are the last row of all logits', () => {
    const model = randomModel()
    const tokens = randomTokens(6, V, 4)
    const all = logitsOf(model.forward(tokens))
    expect(maxDifference(logitsOf(model.forward(tokens, { logits: 'last' })), all.slice(-V))).toBeLessThan(
      2e-5,
    )
    model.dispose()
  })

  test('no tensor is left behind: forward, cache, trace, errors, dispose', () => {
    const before = tf.memory().numTensors
    const model = randomModel({ slidingWindow: 4 })
    const loaded = tf.memory().numTensors
    const cache = model.createCache()
    for (let step = 0; step < 8; step++)
      logitsOf(model.forward([step], { cache, trace: { hiddenStates: true } }))
    expect(() => model.forward([V], { cache })).toThrow()
    cache.dispose()
    logitsOf(model.forward([[1, 2], [3]], { trace: true }))
    expect(tf.memory().numTensors).toBe(loaded)
    model.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })
})

test('a window of W keeps only the columns a next token may see', async () => {
  await startRuntime({ device: 'js' })
  const model = randomModel({ slidingWindow: 4 })
  const cache = model.createCache()
  logitsOf(model.forward(randomTokens(10, V, 1), { cache }))
  const afterTen = cache.bytes
  logitsOf(model.forward(randomTokens(20, V, 2), { cache }))
  expect(cache.bytes).toBe(afterTen)
  expect(cache.length).toBe(30)
  cache.dispose()
  model.dispose()
})

test.each([
  [[], /sequence 0 is empty/],
  [[1, 40], /40 at position 1, expected an integer from 0 to 39/],
  [[-1], /-1 at position 0/],
  [[1.5], /1.5 at position 0/],
  [[[1], []], /sequence 1 is empty/],
])('bad tokens %o are one sentence', async (tokens, message) => {
  await startRuntime({ device: 'js' })
  const model = randomModel()
  expect(() => model.forward(tokens as number[])).toThrow(message)
  model.dispose()
})

test.each([
  [[[1, 1]], /1 rows, expected 2/],
  [[[1], [1, 1]], /row 0 has 1 entries for 2 tokens/],
  [
    [
      [1, 0],
      [1, 1],
    ],
    /row 0 is \[1,0\], expected zeros \(padding\) then ones/,
  ],
  [
    [
      [0, 0],
      [1, 1],
    ],
    /row 0 is \[0,0\]/,
  ],
])('a bad attention mask %o is one sentence', async (attentionMask, message) => {
  await startRuntime({ device: 'js' })
  const model = randomModel()
  expect(() =>
    model.forward(
      [
        [1, 2],
        [3, 4],
      ],
      { attentionMask },
    ),
  ).toThrow(message)
  model.dispose()
})
