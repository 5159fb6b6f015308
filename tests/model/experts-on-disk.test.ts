import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { eachStored, packWeights } from '../../src/checkpoint/pack.ts'
import { startRuntime } from '../../src/device/index.ts'
import { runnableConfig } from '../../src/families/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { type ModelConfig, mixturesOf } from '../../src/model/config.ts'
import { ExpertCache } from '../../src/model/expert-cache.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { weightTable } from '../../src/model/weight-table.ts'
import { expertsOnDisk } from '../../src/model/weights.ts'
import { smallConfig } from '../families/arbitrary.ts'
import { expertBytes } from '../helpers/expert-bytes.ts'
import { FIXTURES, maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomNumbers, randomTokens } from '../helpers/random.ts'

/* Experts that stay in the file, compared with the same model that has all of them in memory. */

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

async function greedy(model: LoadedModel, tokens: number[]): Promise<number[]> {
  return (await model.generate({ tokens, maxTokens: 8, ignoreEos: true, temperature: 0 }).done).tokens
}

/** Every way in which experts are stored: apart, stacked, joined, flat, turned, interleaved, and in all types. */
const STORED = [
  'mixtral/sharded',
  'mixtral/bf16',
  'mixtral/fused',
  'deepseek_v3',
  'deepseek_v3/fp8',
  'deepseek_v3/fused',
  'gpt_oss',
  'gpt_oss/mxfp4',
  'granitemoe',
  'dbrx',
  'llama4_text',
  'qwen2_moe',
]

test.each(STORED)('%s with room for a quarter of its experts: the same logits and tokens', async (name) => {
  const dir = join(FIXTURES, name)
  const { all, one } = await expertBytes(dir)
  const before = tf.memory().numTensors
  const whole = await loadModel(dir, { device: 'cpu', executor: 'eager' })
  const prompt = randomTokens(20, whole.config.vocabSize, 5)
  const expected = logitsOf(whole.forward(prompt, { logits: 'last' }))
  const tokens = await greedy(whole, prompt)
  whole.dispose()
  for (const executor of ['eager', 'recorded'] as const) {
    const part = await loadModel(dir, { device: 'cpu', executor, expertsOnDisk: all / 4 })
    expect(maxDifference(logitsOf(part.forward(prompt, { logits: 'last' })), expected)).toBeLessThan(2e-5)
    expect(await greedy(part, prompt)).toEqual(tokens)
    expect(part.expertReads!.misses).toBeGreaterThan(all / one) // some were read again
    part.dispose()
  }
  expect(tf.memory().numTensors).toBe(before)
})

/** A model of random weights, its experts read from the same numbers when they are needed if there is a cache. */
function modelOf(config: ModelConfig, seed: number, onDisk?: ExpertCache, largestStack?: number): MoeModel {
  const read = ({ name, shape }: { name: string; shape: number[] }, target: Float32Array) => {
    const next = randomNumbers(seed + [...name].reduce((hash, c) => (31 * hash + c.charCodeAt(0)) | 0, 7))
    const [size, middle] = name.endsWith('Norm') ? [0.1, 1] : [1.5 / Math.sqrt(shape.at(-1) as number), 0]
    for (let i = 0; i < target.length; i++) target[i] = middle + size * next()
  }
  return new MoeModel(config, packWeights(weightTable(config), eachStored(read), { onDisk, largestStack }))
}

const TINY = {
  vocab_size: 40,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_local_experts: 4,
  num_experts_per_tok: 2,
}
const RUNS = { numRuns: 2, seed: 22 }
/** Few rows, which stay in one thread, and many. */
const STEPS = [
  ['auto', 1],
  ['sparse', 30],
  ['dense', 30],
] as const

describe.each(['mixtral', 'deepseek_v3', 'gpt_oss', 'dbrx'])('any small %s', (modelType) => {
  /** Calls `check` with random models, one in memory and one with room for that many experts. */
  const models = (room: number, check: (whole: MoeModel, part: MoeModel, tokens: number[]) => void) =>
    fc.assert(
      fc.property(smallConfig(modelType), fc.nat(), (json, seed) => {
        const { config } = runnableConfig(json, 'config.json')
        if (mixturesOf(config.layers).length === 0) return
        const before = tf.memory().numTensors
        const whole = modelOf(config, seed)
        const measured = modelOf(config, seed, new ExpertCache(1e9))
        logitsOf(measured.forward([1]))
        const [{ reads, length }] = expertsOnDisk(measured.weights)
        const one = reads.bytes / reads.misses
        measured.dispose()
        const part = modelOf(config, seed, new ExpertCache(one * (room || length)))
        try {
          check(whole, part, randomTokens(30, config.vocabSize, seed + 1))
        } finally {
          whole.dispose()
          part.dispose()
        }
        expect(tf.memory().numTensors).toBe(before)
      }),
      RUNS,
    )

  test('with room for one layer, the same graph gives the same bits', () => {
    models(0, (whole, part, tokens) => {
      const graphs = [whole, part].map((model) => new RecordedExecutor(model))
      try {
        for (const [dispatch, length] of STEPS) {
          const some = tokens.slice(0, length)
          expect(graphs[1].serves(some, { dispatch })).toBe(true)
          const [expected, actual] = graphs.map((graph) => logitsOf(graph.forward(some, { dispatch })))
          expect(actual).toEqual(expected)
        }
      } finally {
        for (const graph of graphs) graph.dispose()
      }
    })
  })

  test('with room for a single expert, one is taken after the other', () => {
    models(1, (whole, part, tokens) => {
      const graph = new RecordedExecutor(part)
      expect(graph.serves(tokens, {})).toBe(false)
      graph.dispose()
      for (const dispatch of DISPATCHES) {
        const expected = logitsOf(whole.forward(tokens, { dispatch }))
        const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1)
        expect(maxDifference(logitsOf(part.forward(tokens, { dispatch })), expected) / largest).toBeLessThan(
          1e-5,
        )
      }
    })
  })
})

test('stacks that are longer than any array are no stacks: op by op, the same', () => {
  const { config } = runnableConfig({ model_type: 'mixtral', ...TINY }, 'config.json')
  const whole = modelOf(config, 3)
  const part = modelOf(config, 3, new ExpertCache(2 * 3 * 16 * 24 * 4), 1000)
  const graph = new RecordedExecutor(part)
  const tokens = randomTokens(12, config.vocabSize, 4)
  expect(graph.serves([1], {})).toBe(false)
  for (const dispatch of DISPATCHES) {
    const expected = logitsOf(whole.forward(tokens, { dispatch }))
    expect(maxDifference(logitsOf(part.forward(tokens, { dispatch })), expected)).toBeLessThan(2e-5)
  }
  for (const one of [graph, whole, part]) one.dispose()
})
