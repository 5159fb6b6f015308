import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { continueGreedily } from '../../src/eval/greedy.ts'
import { generate } from '../../src/generate/generate.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

const V = 40

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** One prompt by itself through `generate`, cut behind the first `end`. */
async function alone(model: MoeModel, prompt: number[], limit: number, end: number): Promise<number[]> {
  const { tokens } = await generate(model, null, { tokens: prompt, maxTokens: limit }).done
  const at = tokens.indexOf(end)
  return at < 0 ? tokens : tokens.slice(0, at + 1)
}

describe('greedy continuations of ragged prompts', () => {
  test('are those of each prompt alone, each with its own end', async () => {
    const model = randomModel({ V, seed: 3, layers: 1 })
    const continuations = Array.from({ length: 66 }, (_, i) => ({
      prompt: randomTokens(1 + ((7 * i) % 23), V, i + 1),
      limit: 1 + (i % 5),
    }))
    const end = (await alone(model, continuations[4].prompt, 5, -1))[2] // one that does come
    const before = tf.memory().numTensors
    const together = await continueGreedily(model, continuations, { isEnd: async (token) => token === end })
    expect(tf.memory().numTensors).toBe(before)
    const expected = await Promise.all(
      continuations.map(({ prompt, limit }) => alone(model, prompt, limit, end)),
    )
    expect(together).toEqual(expected)
    const ended = together.filter((tokens, i) => tokens.length < continuations[i].limit)
    expect(ended.length).toBeGreaterThan(0)
    model.dispose()
  })

  test('stop at the signal and free the cache', async () => {
    const model = randomModel({ V })
    const before = tf.memory().numTensors
    const controller = new AbortController()
    const work = continueGreedily(model, [{ prompt: [1, 2], limit: 200 }], {
      isEnd: async () => {
        controller.abort()
        return false
      },
      signal: controller.signal,
    })
    await expect(work).rejects.toThrow('aborted')
    expect(tf.memory().numTensors).toBe(before)
    model.dispose()
  })
})
