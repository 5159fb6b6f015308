import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { writeSafetensors } from '../../src/checkpoint/write.ts'
import { modelNamed } from '../../src/cost/named.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { startRuntime } from '../../src/device/index.ts'
import { type LoadOptions, loadModel } from '../../src/load-model.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { modelDirectory } from '../../src/package.ts'
import { FIXTURES } from '../helpers/golden.ts'
import { logitsOf } from '../helpers/logits.ts'
import { temporaryDir } from './files.ts'

/*
 * Directories that others had trouble with, each with the values of transformers.
 */

const CASES = join(FIXTURES, 'cases')
let dir: string
let before: number
beforeEach(async () => {
  await startRuntime({ device: 'cpu' })
  before = tf.memory().numTensors
  dir = temporaryDir()
})
afterEach(async () => {
  await startRuntime({ device: 'cpu' })
  expect(tf.memory().numTensors).toBe(before)
})

/** The largest logits after the last token, by token, largest first; four digits. */
async function best(from: string, tokens: number[], count: number, options: LoadOptions = {}) {
  const model = await loadModel(from, { device: 'cpu', ...options })
  try {
    const logits = logitsOf(model.forward(tokens, { logits: 'last' }))
    const order = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, count)
    return { best: order.map((token) => [token, logits[token].toFixed(4)]), remarks: model.remarks }
  } finally {
    model.dispose()
  }
}

function writeJson(name: string, value: unknown): void {
  writeFileSync(join(dir, name), JSON.stringify(value))
}

function readJson(from: string, name: string) {
  return JSON.parse(readFileSync(join(from, name), 'utf8'))
}

const EXECUTORS = ['recorded', 'eager'] as const

test('rope_scaling beside rope_parameters counts', async () => {
  const tokens = Array.from({ length: 60 }, (_, i) => i + 3)
  expect((await best(join(CASES, 'rope-both'), tokens, 3)).best).toEqual([
    [47, '2.3379'],
    [146, '2.3236'],
    [85, '2.0231'],
  ])
})

test('num_experts for num_local_experts, in inspect as in loading', async () => {
  cpSync(join(CASES, 'rope-both/model.safetensors'), join(dir, 'model.safetensors'))
  cpSync(join(CASES, 'rope-both/config.alias.json'), join(dir, 'config.json'))
  const { shape } = modelNamed(dir)
  expect(shape.layers[0].feedForward).toMatchObject({ router: { numExperts: 4 } })
  expect(countParameters(shape).total).toBe(35_232)
  const model = await loadModel(dir, { device: 'cpu' })
  expect(model.config).toEqual(shape)
  model.dispose()
})

describe.each(EXECUTORS)('an expert of NaN that no token goes to (%s)', (executor) => {
  test.each(DISPATCHES)('%s', async (dispatch) => {
    const options = { dispatch, executor }
    expect((await best(join(CASES, 'nan-expert'), [5, 9], 1, options)).best).toEqual([[68, '2.5330']])
  })
})

/** The Llama fixture tied, with an `lm_head.weight` made of the embedding's values. */
function tiedLlama(unembedding: (embedding: Float32Array) => Float32Array): void {
  const from = join(FIXTURES, 'llama')
  writeJson('config.json', { ...readJson(from, 'config.json'), tie_word_embeddings: true })
  const checkpoint = openCheckpoint(from)
  const tensors = checkpoint.names().map((name) => {
    const isHead = name === 'lm_head.weight'
    const tensor = checkpoint.get(isHead ? 'model.embed_tokens.weight' : name)
    const data = tensor.read()
    return { name, shape: tensor.shape, dtype: 'F32' as const, data: isHead ? unembedding(data) : data }
  })
  checkpoint.close()
  writeSafetensors(join(dir, 'model.safetensors'), tensors)
}

describe('a tied model whose file has lm_head.weight', () => {
  test('of the same values is tied', async () => {
    tiedLlama((embedding) => embedding)
    const { best: top, remarks } = await best(dir, [1, 5, 34], 1)
    expect(top).toEqual([[149, '21.0660']])
    expect(remarks).toEqual([])
  })

  test('of others uses it, and says so', async () => {
    tiedLlama((embedding) => embedding.map((value, i) => (i === embedding.length - 1 ? value + 1 : value)))
    const { remarks } = await best(dir, [1, 5, 34], 1)
    expect(remarks).toEqual([
      `${dir}: config.json has "tie_word_embeddings" true, but "lm_head.weight" is not "model.embed_tokens.weight": used as it is`,
    ])
    tiedLlama((embedding) => embedding.map((value) => -value))
    const negated = await best(dir, [1, 5, 34], 160)
    expect(negated.best.at(-1)).toEqual([149, '-21.0660'])
  })
})

describe('an index and its shards that disagree', () => {
  const stale = 'model.layers.0.self_attn.rotary_emb.inv_freq'
  const index = 'model.safetensors.index.json'
  beforeEach(() => cpSync(join(FIXTURES, 'mixtral/sharded'), dir, { recursive: true }))

  function changeIndex(change: (map: Record<string, string>) => void): void {
    const json = readJson(dir, index)
    change(json.weight_map)
    writeJson(index, json)
  }

  test('on a tensor without meaning that is only listed: it loads', async () => {
    changeIndex((map) => {
      for (const layer of [0, 1, 2]) map[stale.replace('0', `${layer}`)] = 'model-00001-of-00004.safetensors'
    })
    expect((await best(dir, [1, 5, 34], 1)).best).toEqual([[100, '7.6388']])
  })

  test('on one that is only held: it loads', async () => {
    const from = openCheckpoint(join(FIXTURES, 'mixtral'))
    const tensors = from.names().map((name) => {
      const tensor = from.get(name)
      return { name, shape: tensor.shape, dtype: 'F32' as const, data: tensor.read() }
    })
    from.close()
    const shard = 'model-00001-of-00001.safetensors'
    const buffer = { name: stale, shape: [4], dtype: 'F32' as const, data: new Float32Array(4) }
    writeSafetensors(join(dir, shard), [...tensors, buffer])
    writeJson(index, { weight_map: Object.fromEntries(tensors.map(({ name }) => [name, shard])) })
    expect((await best(dir, [1, 5, 34], 1)).best).toEqual([[100, '7.6388']])
  })

  test('on a tensor of the model: refused', async () => {
    changeIndex((map) => {
      map['model.layers.9.input_layernorm.weight'] = 'model-00001-of-00004.safetensors'
    })
    await expect(loadModel(dir)).rejects.toThrow(
      'puts "model.layers.9.input_layernorm.weight" in model-00001-of-00004.safetensors, which does not hold it',
    )
  })
})

describe('names with more or less before them', () => {
  function renamed(rename: (name: string) => string): void {
    const from = join(FIXTURES, 'mixtral')
    cpSync(join(from, 'config.json'), join(dir, 'config.json'))
    const checkpoint = openCheckpoint(from)
    const tensors = checkpoint.names().map((name) => {
      const tensor = checkpoint.get(name)
      return { name: rename(name), shape: tensor.shape, dtype: 'F32' as const, data: tensor.read() }
    })
    checkpoint.close()
    writeSafetensors(join(dir, 'model.safetensors'), tensors)
  }

  test.each(['_orig_mod.', 'module.', 'base_model.model.'])('%s is named', async (prefix) => {
    renamed((name) => prefix + name)
    await expect(loadModel(dir)).rejects.toThrow(
      new RegExp(`"${prefix}(\\S+)" is there, expected "\\1" without the prefix "${prefix}"$`),
    )
  })

  test('no model. is named', async () => {
    renamed((name) => name.replace(/^model\./, ''))
    await expect(loadModel(dir)).rejects.toThrow(
      /"(\S+)" is there, expected "model\.\1" with the prefix "model\."$/,
    )
  })
})

test('quantised weights are refused by their config, not by a missing tensor', async () => {
  const config = readJson(join(FIXTURES, 'mixtral'), 'config.json')
  writeJson('config.json', { ...config, quantization_config: { quant_method: 'awq', bits: 4 } })
  await expect(loadModel(dir)).rejects.toThrow(
    '"quantization_config.quant_method" is "awq", expected weights that are not quantised',
  )
})

describe('generation_config.json', () => {
  beforeEach(() => {
    const moe = modelDirectory('tinymoe:moe')
    for (const name of ['model.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'config.json']) {
      symlinkSync(join(moe, name), join(dir, name))
    }
  })

  test('names several ids that end a text', async () => {
    writeJson('generation_config.json', { bos_token_id: 1, eos_token_id: [2, 16], pad_token_id: 0 })
    const model = await loadModel(dir, { device: 'cpu' })
    const run = await model.generate({ prompt: 'Once upon a time', maxTokens: 30 }).done
    model.dispose()
    expect(run).toMatchObject({ finishReason: 'eos' })
    expect([run.tokens.length, run.tokens.at(-1)]).toEqual([11, 16])
  })

  test('a special token is a stop text', async () => {
    writeJson('generation_config.json', { eos_token_id: 1023 })
    const model = await loadModel(dir, { device: 'cpu' })
    const prompt = 'close: ( { ( [ ->'
    const run = await model.generate({ prompt, maxTokens: 30, stop: ['</s>'] }).done
    model.dispose()
    expect([run.finishReason, run.tokens]).toEqual(['stop', [461, 460, 337, 460, 2]])
    expect(run.text).not.toContain('</s>')
  })
})
