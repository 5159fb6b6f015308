import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../src/device/index.ts'
import { type LoadedModel, loadModel } from '../src/load-model.ts'
import type { KvCache } from '../src/model/kv-cache.ts'
import { FIXTURES, maxDifference } from './helpers/golden.ts'
import { logitsOf } from './helpers/logits.ts'

const MIXTRAL = join(FIXTURES, 'mixtral')

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

function lastLogits(model: LoadedModel, tokens: number[], cache?: KvCache): Float32Array {
  return logitsOf(model.forward(tokens, { cache, logits: 'last' }))
}

describe('models on two devices in one process', () => {
  test('each computes on its own, whichever was started last', async () => {
    const before = tf.memory().numTensors
    const native = await loadModel(MIXTRAL, { device: 'cpu' })
    const wasm = await loadModel(MIXTRAL, { device: 'wasm' })
    const caches = [native.createCache(), wasm.createCache()]
    for (const tokens of [[1, 5, 34], [7], [9]]) {
      const expected = lastLogits(wasm, tokens, caches[1])
      expect(maxDifference(lastLogits(native, tokens, caches[0]), expected)).toBeLessThan(2e-4)
    }
    expect(tf.getBackend()).toBe('wasm')
    for (const cache of caches) cache.dispose()
    native.dispose()
    wasm.dispose()
    await startRuntime({ device: 'cpu' })
    expect(tf.memory().numTensors).toBe(before)
  })

  test('loaded at the same time', async () => {
    const models = await Promise.all(
      (['wasm', 'cpu', 'js'] as const).map((device) => loadModel(MIXTRAL, { device })),
    )
    const [first, ...others] = models.map((model) => lastLogits(model, [1, 5, 34]))
    for (const logits of others) expect(maxDifference(logits, first)).toBeLessThan(2e-4)
    for (const model of models) model.dispose()
    await startRuntime({ device: 'cpu' })
  })
})

describe.each(['recorded', 'eager'] as const)('misuse (%s)', (executor) => {
  test('a model that was disposed of', async () => {
    const model = await loadModel(MIXTRAL, { device: 'cpu', executor })
    const cache = model.createCache()
    lastLogits(model, [1, 2], cache)
    model.dispose()
    model.dispose()
    expect(() => model.forward([1, 2])).toThrow('forward: the model was disposed of')
    await expect(model.generate({ tokens: [1] }).done).rejects.toThrow('the model was disposed of')
    cache.dispose()
  })

  test("another model's cache leaves both as they were", async () => {
    const before = tf.memory().numTensors
    const [mixtral, llama] = await Promise.all(
      ['mixtral', 'llama'].map((name) => loadModel(join(FIXTURES, name), { device: 'cpu', executor })),
    )
    const cache = mixtral.createCache()
    lastLogits(mixtral, [1, 5], cache)
    expect(() => llama.forward([34], { cache })).toThrow('kvCache: was made for another model, with ')
    const whole = lastLogits(mixtral, [1, 5, 34])
    expect(maxDifference(lastLogits(mixtral, [34], cache), whole)).toBeLessThan(5e-5)
    cache.dispose()
    mixtral.dispose()
    llama.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })

  test('a dispatch that there is not', async () => {
    const model = await loadModel(MIXTRAL, { device: 'cpu', executor })
    expect(() => model.forward([1], { dispatch: 'fast' as never })).toThrow(
      'dispatch: is "fast", expected one of dense, sparse, gather, auto',
    )
    model.dispose()
  })
})
