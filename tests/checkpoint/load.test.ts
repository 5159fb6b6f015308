import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { type TensorToWrite, writeSafetensors } from '../../src/checkpoint/write.ts'
import { startRuntime } from '../../src/device/index.ts'
import { loadModel } from '../../src/load-model.ts'
import { allTensors } from '../../src/model/weights.ts'
import { FIXTURES, maxDifference } from '../helpers/golden.ts'

let dir: string
beforeAll(async () => {
  await startRuntime({ device: 'js' })
})
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-load-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** A copy of a fixture with its tensors or its config changed. */
function changed(
  fixture: string,
  change: { tensors?: (all: TensorToWrite[]) => TensorToWrite[]; config?: Record<string, unknown> },
): string {
  cpSync(join(FIXTURES, fixture), dir, { recursive: true })
  const file = join(dir, 'config.json')
  if (change.config) {
    const config = { ...JSON.parse(readFileSync(file, 'utf8')), ...change.config }
    writeFileSync(file, JSON.stringify(config))
  }
  if (change.tensors) {
    const checkpoint = openCheckpoint(dir)
    const tensors = checkpoint.names().map((name) => {
      const { shape, read } = checkpoint.get(name)
      return { name, shape, dtype: 'F32' as const, data: read.call(checkpoint.get(name)) }
    })
    checkpoint.close()
    writeSafetensors(join(dir, 'model.safetensors'), change.tensors(tensors))
  }
  return dir
}

const W1 = 'model.layers.0.block_sparse_moe.experts.3.w1.weight'

describe('loading is strict', () => {
  test.each<[string, (all: TensorToWrite[]) => TensorToWrite[], RegExp]>([
    [
      'a missing tensor',
      (all) => all.filter((t) => t.name !== W1),
      /"model\.layers\.0\.block_sparse_moe\.experts\.3\.w1\.weight" is missing/,
    ],
    [
      'many missing tensors',
      (all) => all.filter((t) => !t.name.includes('experts.3')),
      /w1\.weight", ".*" and 6 more tensors are missing/,
    ],
    [
      'a tensor left over',
      (all) => [
        ...all,
        {
          name: 'model.layers.9.input_layernorm.weight',
          shape: [32],
          dtype: 'F32',
          data: new Float32Array(32),
        },
      ],
      /"model\.layers\.9\.input_layernorm\.weight" is left over/,
    ],
    [
      'a name that no rule knows',
      (all) => [...all, { name: 'vision.patch', shape: [1], dtype: 'F32', data: new Float32Array(1) }],
      /"vision\.patch" is left over/,
    ],
    [
      'a misshapen tensor',
      (all) => all.map((t) => (t.name === W1 ? { ...t, shape: [32, 40] } : t)),
      /w1\.weight" has shape \[32, 40\], expected \[40, 32\]/,
    ],
    [
      'the same weight in both layouts',
      (all) => [
        ...all,
        { name: 'model.layers.0.mlp.gate.weight', shape: [8, 32], dtype: 'F32', data: new Float32Array(256) },
      ],
      /are the same weight, expected one/,
    ],
  ])('%s', async (_, tensors, message) => {
    changed('mixtral', { tensors })
    const before = tf.memory().numTensors
    await expect(loadModel(dir, { device: 'js' })).rejects.toThrow(message)
    expect(tf.memory().numTensors).toBe(before)
  })

  test('a stale rotary buffer is no fault', async () => {
    const stale = {
      name: 'model.layers.0.self_attn.rotary_emb.inv_freq',
      shape: [4],
      dtype: 'F32' as const,
      data: new Float32Array(4),
    }
    const model = await loadModel(changed('mixtral', { tensors: (all) => [...all, stale] }), { device: 'js' })
    model.dispose()
  })

  test('a truncated file is refused within a second', async () => {
    cpSync(join(FIXTURES, 'mixtral'), dir, { recursive: true })
    truncateSync(join(dir, 'model.safetensors'), 100_000)
    const start = process.cpuUsage()
    await expect(loadModel(dir, { device: 'js' })).rejects.toThrow(/model\.safetensors/)
    expect(process.cpuUsage(start).user / 1000).toBeLessThan(1000)
  })
})

describe('config.json is checked', () => {
  test.each([
    [{ num_hidden_layers: 2 ** 32 }, /"num_hidden_layers" is 4294967296, Too big/],
    [{ num_hidden_layers: 10_000 }, /"model\.layers\.3\..*" and at least 997 more tensors are missing/],
    [
      { num_local_experts: 1e9 },
      /"model\.layers\.0\..*experts\.8\..*" and at least 997 more tensors are missing/,
    ],
  ])('%o is refused within a second', async (config, message) => {
    changed('mixtral', { config })
    const start = process.cpuUsage()
    await expect(loadModel(dir, { device: 'js' })).rejects.toThrow(message)
    expect(process.cpuUsage(start).user / 1000).toBeLessThan(1000)
  })

  test.each<[Record<string, unknown>, RegExp]>([
    [{ hidden_size: '32' }, /"hidden_size" is "32", expected number/],
    [{ hidden_size: -4 }, /"hidden_size" is -4/],
    [{ hidden_size: null }, /"hidden_size" is null/],
    [{ num_experts_per_tok: 9 }, /"num_experts_per_tok" is 9, expected at most num_local_experts=8/],
    [{ num_key_value_heads: 3 }, /"num_key_value_heads" is 3, expected a divisor of num_attention_heads=4/],
    [
      { num_attention_heads: 5, num_key_value_heads: 5 },
      /"hidden_size" is 32, expected a multiple of num_attention_heads=5/,
    ],
    [{ head_dim: 7 }, /"head_dim" is 7, expected an even number/],
    [{ hidden_act: 'gelu' }, /"hidden_act" is "gelu"/],
    [{ model_type: 'bert' }, /"model_type" is "bert", expected one of mixtral, llama/],
    [{ model_type: undefined }, /"model_type" is missing/],
    [
      { rope_parameters: { rope_type: 'spiral' } },
      /"rope_parameters\.rope_type" is "spiral", expected one of default, linear, llama3/,
    ],
    [
      { rope_parameters: { rope_type: 'llama3', factor: 8 } },
      /"rope_parameters\.low_freq_factor" is missing/,
    ],
    [{ eos_token_id: 'end' }, /"eos_token_id" is "end"/],
    [{ num_local_experts: 4 }, /left over/],
    [{ num_hidden_layers: 4 }, /is missing|are missing/],
    [{ vocab_size: 99 }, /has shape \[160, 32\], expected \[99, 32\]/],
  ])('%o', async (config, message) => {
    await expect(loadModel(changed('mixtral', { config }), { device: 'js' })).rejects.toThrow(message)
  })

  test('a config that is no file, weights that are a link to nothing', async () => {
    mkdirSync(join(dir, 'config.json'))
    await expect(loadModel(dir)).rejects.toThrow(/config\.json: is not a file/)
    rmSync(join(dir, 'config.json'), { recursive: true })
    cpSync(join(FIXTURES, 'mixtral/config.json'), join(dir, 'config.json'))
    symlinkSync(join(dir, 'gone'), join(dir, 'model.safetensors'))
    await expect(loadModel(dir)).rejects.toThrow(/model\.safetensors: is a link to a file that is not there/)
  })

  test('not JSON, no config, no directory', async () => {
    await expect(loadModel(join(dir, 'nowhere'))).rejects.toThrow(/nowhere: no such directory/)
    await expect(loadModel(dir)).rejects.toThrow(/config\.json: not found/)
    writeFileSync(join(dir, 'config.json'), '{')
    await expect(loadModel(dir)).rejects.toThrow(/config\.json: not JSON/)
    writeFileSync(join(dir, 'config.json'), '[]')
    await expect(loadModel(dir)).rejects.toThrow(/"model_type" is missing/)
  })
})

test('every layout of a model loads to the same weights, and progress reaches 1', async () => {
  const values = async (fixture: string) => {
    const shares: number[] = []
    const model = await loadModel(join(FIXTURES, fixture), {
      device: 'js',
      onProgress: (share) => shares.push(share),
    })
    expect(shares.at(-1)).toBe(1)
    expect(shares).toEqual([...shares].sort((a, b) => a - b))
    const all = allTensors(model.weights).map((t) => t.dataSync())
    model.dispose()
    return all
  }
  const published = await values('mixtral')
  for (const other of [await values('mixtral/fused'), await values('mixtral/sharded')]) {
    other.forEach((tensor, i) => {
      expect(maxDifference(tensor, published[i])).toBe(0)
    })
  }
})
