import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { exportModel } from '../../src/checkpoint/export.ts'
import { loadWeights } from '../../src/checkpoint/load.ts'
import { eachStored, packWeights } from '../../src/checkpoint/pack.ts'
import { LAYOUTS, publishedTensors } from '../../src/checkpoint/published.ts'
import { writeShards } from '../../src/checkpoint/write.ts'
import { startRuntime } from '../../src/device/index.ts'
import { runnableConfig } from '../../src/families/index.ts'
import { loadModel } from '../../src/load-model.ts'
import type { StoredTensor } from '../../src/model/tensor-spec.ts'
import { weightTable } from '../../src/model/weight-table.ts'
import { allTensors, type ModelWeights } from '../../src/model/weights.ts'
import { product } from '../../src/sums.ts'
import { upcycleModel } from '../../src/train/upcycle.ts'
import { ARCHITECTURES, smallConfig } from '../families/arbitrary.ts'
import { FIXTURES, goldenIndex, maxDifference } from '../helpers/golden.ts'
import { randomNumbers } from '../helpers/random.ts'

let dir: string
beforeAll(async () => {
  await startRuntime({ device: 'js' })
})
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-export-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function numbersOf(weights: ModelWeights): ArrayLike<number>[] {
  return allTensors(weights).map((tensor) => {
    const numbers = tensor.dataSync()
    tensor.dispose()
    return numbers
  })
}

/** A small model with random numbers is written in a layout and read. */
function expectReadBack(json: Record<string, unknown>, seed: number, layout: (typeof LAYOUTS)[number]): void {
  const { config, family } = runnableConfig(json, 'config.json')
  const values = ({ name, shape }: StoredTensor) => {
    const next = randomNumbers(seed + name.length * 31 + name.charCodeAt(name.length - 2))
    return Float32Array.from({ length: product(shape) }, next)
  }
  const read = (tensor: StoredTensor, target: Float32Array) => target.set(values(tensor))
  const expected = numbersOf(packWeights(weightTable(config), eachStored(read)))
  const tensors = publishedTensors(config, family.names, (name, shape) => values({ name, shape }), layout)
  writeShards(
    dir,
    tensors.map(({ keepsFloat32: _, ...tensor }) => ({ ...tensor, dtype: 'F32' as const })),
    2000, // several shards
  )
  const checkpoint = openCheckpoint(dir)
  expect(numbersOf(loadWeights(checkpoint, config, family))).toEqual(expected)
  checkpoint.close()
}

test('each of 49 experts is read out of one tensor: 49 times a 49th is less than 1', () => {
  const sizes = { vocab_size: 16, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1 }
  const heads = { num_attention_heads: 2, num_key_value_heads: 1 }
  expectReadBack({ model_type: 'mixtral', ...sizes, ...heads, num_local_experts: 49 }, 1, 'fused')
})

describe.each(ARCHITECTURES)('%s', (modelType) => {
  test.each(LAYOUTS)('any small model is written %s and read back to the same numbers', (layout) => {
    fc.assert(
      fc.property(smallConfig(modelType), fc.nat(), (json, seed) => {
        expectReadBack(json, seed, layout)
      }),
      { numRuns: 5 },
    )
  })
})

/** Tensors of a checkpoint: names, shapes and numbers. */
function contents(path: string): Map<string, { shape: number[]; values: Float32Array }> {
  const checkpoint = openCheckpoint(path)
  const all = checkpoint.names().map((name) => {
    const tensor = checkpoint.get(name)
    return [name, { shape: tensor.shape, values: tensor.read() }] as const
  })
  checkpoint.close()
  return new Map(all)
}

test.each(
  goldenIndex()
    .filter(({ dir, golden }) => dir.endsWith('/fused') && existsSync(join(FIXTURES, dirname(golden))))
    .map(({ dir }) => dir),
)('%s is what exporting the published one as fused gives, and the other way round', async (fused) => {
  const published = join(FIXTURES, dirname(fused))
  await exportModel(published, join(dir, 'fused'), { dtype: 'F32', layout: 'fused' })
  expect(contents(join(dir, 'fused'))).toEqual(contents(join(FIXTURES, fused)))
  await exportModel(join(FIXTURES, fused), join(dir, 'published'), { dtype: 'F32', layout: 'published' })
  expect(contents(join(dir, 'published'))).toEqual(contents(published))
})

test.each(['gpt_oss/mxfp4', 'deepseek_v3/fp8'])(
  '%s is written plain, says so in its config, and gives the same logits',
  async (name) => {
    const out = join(dir, 'plain')
    await exportModel(join(FIXTURES, name), out, { dtype: 'F32', layout: 'published' })
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))
    expect(config).not.toHaveProperty('quantization_config')
    expect(config.dtype).toBe('float32')
    expect(readdirSync(out).sort()).toEqual(['config.json', 'generation_config.json', 'model.safetensors'])
    const logits = async (path: string) => {
      const model = await loadModel(path, { device: 'js' })
      const numbers = model.forward([1, 5, 9, 70]).logits.dataSync()
      model.dispose()
      return numbers
    }
    expect(maxDifference(await logits(out), await logits(join(FIXTURES, name)))).toBe(0)
  },
)

test('numbers keep the decimal point by which transformers tells kinds apart', async () => {
  cpSync(join(FIXTURES, 'mixtral'), dir, { recursive: true })
  const text = readFileSync(join(dir, 'config.json'), 'utf8')
  expect(text).toContain('"router_jitter_noise": 0.0')
  writeFileSync(
    join(dir, 'config.json'),
    text.replace('{', '{"a_float": 1e2, "an_int": 1, "rms_norm_eps": 1,'),
  )
  const out = join(dir, 'out')
  await exportModel(dir, out, { dtype: 'F32', layout: 'published' })
  const written = readFileSync(join(out, 'config.json'), 'utf8')
  for (const line of ['"router_jitter_noise": 0.0', '"a_float": 100.0', '"an_int": 1', '"hidden_size": 32'])
    expect(written).toContain(`  ${line},\n`)
})

test('a model is not written over itself, and a multimodal config becomes its decoder', async () => {
  cpSync(join(FIXTURES, 'llama4_text/published'), dir, { recursive: true })
  await expect(exportModel(dir, dir, { dtype: 'BF16', layout: 'published' })).rejects.toThrow(
    "is the model's own directory, expected another",
  )
  const out = join(dir, 'out')
  await exportModel(dir, out, { dtype: 'BF16', layout: 'published' })
  expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')).model_type).toBe('llama4_text')
  expect([...contents(out).keys()]).toContain('model.embed_tokens.weight')
})

describe('a folder that has a model', () => {
  const f32 = { dtype: 'F32', layout: 'published' } as const
  const files = () => readdirSync(join(dir, 'out')).sort()

  test('gets another in its place, its tokenizer too', async () => {
    const out = join(dir, 'out')
    await exportModel(join(FIXTURES, 'qwen3_moe/text'), out, f32)
    expect(files()).toContain('tokenizer.json')
    await exportModel(join(FIXTURES, 'llama'), out, f32)
    expect(files()).toEqual(['config.json', 'generation_config.json', 'model.safetensors'])
  })

  test('keeps it where the writing is ended', async () => {
    const out = join(dir, 'out')
    await exportModel(join(FIXTURES, 'qwen3_moe/text'), out, f32)
    const before = [files(), contents(out)]
    const ending = new AbortController()
    const shares: number[] = []
    const onShare = (share: number) => {
      if (shares.push(share) === 3) ending.abort()
    }
    const writing = exportModel(join(FIXTURES, 'llama'), out, f32, { onShare, signal: ending.signal })
    await expect(writing).rejects.toThrow('aborted')
    expect(shares).toHaveLength(3)
    expect([files(), contents(out)]).toEqual(before)
  })
})

describe('upcycling', () => {
  const options = { experts: 4, topK: 2, seed: 1, dtype: 'F32', layout: 'published' } as const

  test('the mixture gives the logits of the dense model, whichever experts are chosen', async () => {
    const out = join(dir, 'mixture')
    await upcycleModel(join(FIXTURES, 'llama'), out, options)
    const dense = await loadModel(join(FIXTURES, 'llama'), { device: 'js' })
    const mixture = await loadModel(out, { device: 'js' })
    const tokens = [1, 7, 30, 99, 12, 64]
    const { logits, trace } = mixture.forward(tokens, { trace: true })
    expect(new Set(trace.layers.flatMap(({ expertIndices }) => [...expertIndices])).size).toBeGreaterThan(2)
    expect(maxDifference(logits.dataSync(), dense.forward(tokens).logits.dataSync())).toBeLessThan(1e-5)
    dense.dispose()
    mixture.dispose()
  })

  test('what Mixtral has not is refused', async () => {
    await expect(upcycleModel(join(FIXTURES, 'mixtral'), join(dir, 'out'), options)).rejects.toThrow(
      'is of family mixtral, expected a dense model of family llama without biases',
    )
    cpSync(join(FIXTURES, 'llama/f16'), dir, { recursive: true })
    await expect(upcycleModel(dir, join(dir, 'out'), options)).rejects.toThrow('has biases')
    expect(existsSync(join(dir, 'out'))).toBe(false)
    writeFileSync(join(dir, 'config.json'), '{')
    await expect(upcycleModel(dir, join(dir, 'out'), options)).rejects.toThrow('not JSON')
  })
})
