import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mixtralConfig } from '../../models/mixtral.ts'
import { tensorflow } from '../../src/backend/tensorflow.ts'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { startRuntime } from '../../src/device/index.ts'
import { loadModel } from '../../src/load-model.ts'
import type { ForwardOptions } from '../../src/model/forward-options.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import type { Executor } from '../../src/model/ways.ts'
import { type ExpertReads, hitRate } from '../../src/model/weights.ts'
import { expertBytes } from '../helpers/expert-bytes.ts'
import { FIXTURES, maxDifference } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomNumbers, randomTokens } from '../helpers/random.ts'

/* What is said of experts that stay in the file, what else goes on meanwhile, and what goes wrong. */

const folder = mkdtempSync(join(tmpdir(), 'experts-'))
afterAll(() => rmSync(folder, { recursive: true }))

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** What an LRU cache finds, by its definition: every list of experts that a step of a layer needs, in order. */
function lru(steps: { layer: number; experts: number[] }[], room: number): { hits: number; misses: number } {
  let held: string[] = []
  let [hits, misses] = [0, 0]
  for (const { layer, experts } of steps) {
    const needed = [...new Set(experts)].map((expert) => `${layer}.${expert}`)
    const there = needed.filter((one) => held.includes(one))
    hits += there.length
    misses += needed.length - there.length
    const added = needed.filter((one) => !there.includes(one))
    held = [...held.filter((one) => !there.includes(one)), ...there]
    held = [...held.slice(Math.max(0, held.length + added.length - room)), ...added]
  }
  return { hits, misses }
}

describe.each(['eager', 'recorded'] as const)('what was found in memory (%s)', (executor) => {
  test('is in each trace, adds up, and is what an LRU cache finds', async () => {
    const { one } = await expertBytes('tinymoe:moe')
    const room = 9
    const model = await loadModel('tinymoe:moe', { device: 'cpu', executor, expertsOnDisk: room * one })
    const run = model.generate({ prompt: 'Once upon a time', maxTokens: 20, trace: true })
    const { traces } = await run.done
    const decoding = traces.slice(1)
    const steps = traces.flatMap(({ layers }) =>
      layers.map(({ layer, expertIndices }) => ({ layer, experts: [...expertIndices] })),
    )
    const expected = lru(steps, room)
    const { hits, misses, bytes } = model.expertReads!
    expect({ hits, misses }).toEqual(expected)
    expect(bytes).toBe(misses * one)
    const reads = traces.flatMap(({ layers }) => layers.map((layer) => layer.reads!))
    expect(reads.reduce((sum, { hits }) => sum + hits, 0)).toBe(hits)
    expect(reads.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(bytes)
    for (const { layers } of decoding)
      for (const { reads, topK } of layers) expect(reads!.hits + reads!.misses).toBe(topK)
    model.dispose()
  })

  test('interventions and hidden states run, and change the same', async () => {
    const { one } = await expertBytes('tinymoe:moe')
    const whole = await loadModel('tinymoe:moe', { device: 'cpu', executor })
    const part = await loadModel('tinymoe:moe', { device: 'cpu', executor, expertsOnDisk: 5 * one })
    const tokens = randomTokens(12, whole.config.vocabSize, 3)
    for (const options of [
      { interventions: { disable: [{ expert: 1 }], topK: 1 } },
      { interventions: { capacity: { factor: 1, policy: 'drop' } } },
      { trace: { hiddenStates: true } },
    ] satisfies ForwardOptions[]) {
      const [expected, actual] = [whole, part].map((model) =>
        model.forward(tokens, { trace: true, ...options }),
      )
      const chosen = ({ trace }: { trace: RoutingTrace | null }) =>
        trace!.layers.map((l) => [...l.expertIndices])
      expect(chosen(actual)).toEqual(chosen(expected))
      expect(maxDifference(logitsOf(actual), logitsOf(expected))).toBeLessThan(5e-5)
    }
    whole.dispose()
    part.dispose()
  })

  test('a file that is cut off meanwhile is an error that says so, at each call', async () => {
    const dir = join(folder, executor)
    cpSync(join(FIXTURES, 'mixtral'), dir, { recursive: true })
    const { one } = await expertBytes(dir)
    const model = await loadModel(dir, { device: 'cpu', executor, expertsOnDisk: 8 * one })
    logitsOf(model.forward([1]))
    truncateSync(join(dir, 'model.safetensors'), 2000)
    for (const length of [2, 40, 2]) {
      const tokens = randomTokens(length, model.config.vocabSize, 9)
      expect(() => model.forward(tokens)).toThrow(/model\.safetensors: ends at byte \d+, expected \d+ bytes/)
    }
    model.dispose()
  })
})

/** Beside its experts the model takes this much: other weights, caches, graphs and what TensorFlow keeps of them. */
const CONSTANT = 112 * 2 ** 20

test('resident memory stays under the budget and a constant', () => {
  const dir = join(folder, 'large')
  const sizes = { D: 256, H: 512, layers: 4, heads: 4, keyValueHeads: 2, E: 32, K: 2, V: 128, positions: 256 }
  const experts = 4 * 3 * sizes.D * sizes.H * sizes.E * sizes.layers // 201 MB
  saveCheckpoint(dir, mixtralConfig(sizes), 'F32', repeatedNumbers())
  const script = fileURLToPath(new URL('experts-peak.ts', import.meta.url))
  const run = (executor: Executor, budget: number): { rise: number; reads: ExpertReads } => {
    const args = ['--import', 'tsx', script, dir, String(budget), executor]
    return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
  }
  const [recorded, eager] = (['recorded', 'eager'] as const).map((executor) => run(executor, experts / 4))
  for (const { rise, reads } of [recorded, eager]) {
    expect(rise).toBeLessThan(experts / 4 + CONSTANT)
    expect(reads.bytes).toBeGreaterThan(experts) // more than there is, so some were given up for others
  }
  expect(run('recorded', experts).rise - recorded.rise).toBeGreaterThan(experts / 4) // there was that much to hold
})

/** Numbers of a size that keeps activations as they are; the same ones again and again, as many take long to draw. */
function repeatedNumbers(): (name: string, shape: number[]) => Float32Array {
  const block = Float32Array.from({ length: 65_537 }, randomNumbers(1))
  return (_, shape) => {
    if (shape.length === 1) return new Float32Array(shape[0]).fill(1)
    const scale = Math.sqrt(3 / shape[1])
    const values = new Float32Array(shape[0] * shape[1])
    for (let i = 0; i < values.length; i++) values[i] = scale * block[i % block.length]
    return values
  }
}

test('on WebAssembly experts are tensors of their own while they are needed', async () => {
  const dir = join(FIXTURES, 'mixtral')
  const { one } = await expertBytes(dir)
  await startRuntime({ device: 'wasm' })
  const before = tf.memory().numTensors
  const whole = await loadModel(dir, { device: 'wasm' })
  const part = await loadModel(dir, { device: 'wasm', expertsOnDisk: 3 * one })
  const loaded = tf.memory().numTensors
  const tokens = randomTokens(20, whole.config.vocabSize, 5)
  expect(logitsOf(part.forward(tokens))).toEqual(logitsOf(whole.forward(tokens)))
  expect(tf.memory().numTensors).toBe(loaded + 3 * 2) // two matrices an expert
  expect(hitRate(part.expertReads!)).toBeLessThan(1)
  whole.dispose()
  part.dispose()
  expect(tf.memory().numTensors).toBe(before)
  await startRuntime({ device: 'cpu' })
})

test('where the system reserves no memory, experts are tensors of their own, and the same tokens come', async () => {
  const dir = join(FIXTURES, 'mixtral')
  const { one } = await expertBytes(dir)
  const node = tensorflow()!
  const { binding } = node
  const reserveMemory = () => {
    throw new Error('memory: cannot be reserved')
  }
  node.binding = Object.create(binding, { reserveMemory: { value: reserveMemory } })
  const before = tf.memory().numTensors
  const [whole, part] = await Promise.all(
    [undefined, 3 * one].map((expertsOnDisk) => loadModel(dir, { device: 'cpu', expertsOnDisk })),
  ).finally(() => {
    node.binding = binding
  })
  const tokens = randomTokens(20, whole.config.vocabSize, 5)
  expect(maxDifference(logitsOf(part.forward(tokens)), logitsOf(whole.forward(tokens)))).toBeLessThan(2e-5)
  expect(hitRate(part.expertReads!)).toBeLessThan(1)
  whole.dispose()
  part.dispose()
  expect(tf.memory().numTensors).toBe(before)
})

test('room for less than one expert is refused, and says how much it takes', async () => {
  const dir = join(FIXTURES, 'mixtral')
  const { one } = await expertBytes(dir)
  await expect(loadModel(dir, { device: 'cpu', expertsOnDisk: one - 1 })).rejects.toThrow(
    `expertsOnDisk: is ${one - 1} bytes, expected at least ${one}, which one expert takes`,
  )
  for (const wrong of [0, -1, 1.5, Number.NaN, '2GB' as never])
    await expect(loadModel(dir, { expertsOnDisk: wrong })).rejects.toThrow(
      /^expertsOnDisk: is .*, expected a number of bytes$/,
    )
})

test('weights that do not fit are refused with what experts are of them', async () => {
  const dir = join(folder, 'huge')
  mkdirSync(dir)
  const config = { ...mixtralConfigJson(), hidden_size: 4096, intermediate_size: 1_000_000 }
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config))
  const tensors: Record<string, object> = {}
  let end = 0
  const add = (name: string, ...shape: number[]) => {
    const begin = end
    end += 4 * shape.reduce((a, b) => a * b, 1)
    tensors[name] = { dtype: 'F32', shape, data_offsets: [begin, end] }
  }
  add('model.embed_tokens.weight', 16, 4096)
  add('model.norm.weight', 4096)
  add('lm_head.weight', 16, 4096)
  for (const name of ['input_layernorm', 'post_attention_layernorm'])
    add(`model.layers.0.${name}.weight`, 4096)
  for (const name of ['q', 'k', 'v', 'o']) add(`model.layers.0.self_attn.${name}_proj.weight`, 4096, 4096)
  add('model.layers.0.block_sparse_moe.gate.weight', 8, 4096)
  for (let e = 0; e < 8; e++) {
    for (const w of ['w1', 'w3'])
      add(`model.layers.0.block_sparse_moe.experts.${e}.${w}.weight`, 1_000_000, 4096)
    add(`model.layers.0.block_sparse_moe.experts.${e}.w2.weight`, 4096, 1_000_000)
  }
  const header = Buffer.from(JSON.stringify(tensors))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  writeFileSync(join(dir, 'model.safetensors'), Buffer.concat([length, header]))
  truncateSync(join(dir, 'model.safetensors'), 8 + header.length + end) // takes no room on the disk
  await expect(loadModel(dir, { device: 'cpu' })).rejects.toThrow(
    /its weights, as they are stored, need about 393 GB of memory, and \S+ GB may be used; 393 GB are experts, which --experts-on-disk leaves in the file$/,
  )
  await expect(loadModel(dir, { device: 'cpu', expertsOnDisk: 4e11 })).rejects.toThrow(
    /need about 393 GB of memory, and \S+ GB may be used$/,
  )
})

function mixtralConfigJson() {
  return {
    model_type: 'mixtral',
    vocab_size: 16,
    num_hidden_layers: 1,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    num_local_experts: 8,
    num_experts_per_tok: 2,
    tie_word_embeddings: false,
  }
}
