import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { dequantised } from '../../src/checkpoint/quantised.ts'
import { meanKeysMet } from '../../src/cost/attention.ts'
import { cacheNumbers, weightsRead } from '../../src/cost/bytes.ts'
import { expectedDistinct } from '../../src/cost/experts.ts'
import { findPublished, publishedModels } from '../../src/cost/find-published.ts'
import { forwardFlops, totalFlops } from '../../src/cost/flops.ts'
import { expectedWeightsRead, inspectModel } from '../../src/cost/inspection.ts'
import { countParameters, everyExpert } from '../../src/cost/parameters.ts'
import { publishedShape } from '../../src/cost/published.ts'
import { FAMILIES, familyOf, runnableConfig, shapeFromJson } from '../../src/families/index.ts'
import { Xoshiro128 } from '../../src/generate/random.ts'
import { attentionFacts } from '../../src/model/attention/facts.ts'
import type { AttentionShape, GroupedShape, LayerShape, ModelShape } from '../../src/model/config.ts'
import { product } from '../../src/sums.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { FIXTURES } from '../helpers/golden.ts'

const GROUPED: GroupedShape = groupedAttention({ numHeads: 4, numKeyValueHeads: 2, headDim: 8 })

/** Two layers of E experts. */
function mixtureOf(numExperts: number, topK: number, attention: AttentionShape = GROUPED): ModelShape {
  const router = { numExperts, topK }
  return shapeOf({ attention, feedForward: { kind: 'moe', intermediateSize: 24, router } })
}

/** One feed-forward in place of each mixture. */
const DENSE = shapeOf({
  attention: GROUPED,
  feedForward: { kind: 'dense', intermediateSize: 24, bias: false },
})

function shapeOf(layer: LayerShape): ModelShape {
  return { vocabSize: 50, hiddenSize: 16, tieWordEmbeddings: false, layers: [layer, layer] }
}

function decode(shape: ModelShape, context: number) {
  return forwardFlops(shape, { tokens: 1, logitRows: 1, dispatch: 'sparse', context })
}

/** Directories of tests/fixtures with weights, by path. */
function checkpoints(dir = ''): string[] {
  const path = join(FIXTURES, dir)
  const own = readdirSync(path).some((name) => name.endsWith('.safetensors')) ? [dir] : []
  const inner = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  return [...own, ...inner.flatMap(({ name }) => checkpoints(join(dir, name)))]
}

describe('counts equal the tensors of every checkpoint', () => {
  test.each(checkpoints())('%s', (dir) => {
    const path = join(FIXTURES, dir)
    const file = join(path, 'config.json')
    expect(existsSync(file)).toBe(true)
    const json = JSON.parse(readFileSync(file, 'utf8'))
    const { shape } = shapeFromJson(json, file)
    const { config, family, quantisation } = runnableConfig(json, file)
    expect(shape).toEqual(config)
    const checkpoint = dequantised(openCheckpoint(path), quantisation)
    const stored = [...checkpoint.names()]
      .filter((name) => !family.ignored(name, config))
      .reduce((sum, name) => sum + product(checkpoint.get(name).shape), 0)
    checkpoint.close()
    expect(countParameters(shape).total).toBe(stored)
  })
})

describe('identities', () => {
  test('one expert is the feed-forward and a router', () => {
    const [one, dense] = [mixtureOf(1, 1), DENSE]
    const router = 2 * 16 // two layers, D
    expect(countParameters(one).total).toBe(countParameters(dense).total + router)
    expect(countParameters(one).active).toBe(countParameters(one).total)
    expect(totalFlops(decode(one, 9))).toBe(totalFlops(decode(dense, 9)) + 2 * router)
  })

  test('K = E uses everything, and runs what dense dispatch runs', () => {
    const all = mixtureOf(6, 6)
    expect(countParameters(all).active).toBe(countParameters(all).total)
    expect(decode(everyExpert(mixtureOf(6, 2)), 5)).toEqual(decode(all, 5))
    const denseDispatch = forwardFlops(mixtureOf(6, 2), {
      tokens: 1,
      logitRows: 1,
      dispatch: 'dense',
      context: 5,
    })
    expect(denseDispatch).toEqual(decode(all, 5))
  })

  test('a token costs twice its active weights, plus the attention to its context, in every published model', () => {
    for (const model of publishedModels()) {
      const shape = publishedShape(model)
      const { flopsPerToken, parameters } = inspectModel(shape, {
        context: 7,
        dtype: 'bfloat16',
        batches: [1],
      })
      const { activeParts } = parameters
      // Biases and sinks are weights but no products; a tied table multiplies as the unembedding.
      const products =
        parameters.active - activeParts.norms - (shape.tieWordEmbeddings ? 0 : activeParts.embedding)
      const flops = flopsPerToken.decode.total - flopsPerToken.decode.attentionScores
      expect(Math.abs(flops / (2 * products) - 1), model.name).toBeLessThan(0.001)
    }
  })

  test('one token reads its active weights, and of the input table a row', () => {
    for (const model of publishedModels()) {
      const shape = publishedShape(model)
      const { active, parts } = countParameters(shape)
      const read = active - (shape.tieWordEmbeddings ? 0 : parts.embedding) + shape.hiddenSize
      expect(expectedWeightsRead(shape, 1) / read, model.name).toBeCloseTo(1, 12)
    }
  })

  test('touching every expert reads the model', () => {
    const shape = publishedShape(findPublished('jetmoe')!)
    const every = { experts: new Array(24).fill(8), attention: new Array(24).fill(8) }
    expect(weightsRead(shape, 1, every)).toBe(countParameters(shape).total + shape.hiddenSize)
  })
})

describe('distinct experts', () => {
  test.each([
    [8, 2, 4],
    [8, 2, 12],
    [64, 6, 16],
    [5, 5, 3],
    [7, 1, 10],
  ])('E=%i K=%i T=%i: the formula is the mean of random choices', (E, K, T) => {
    const random = Xoshiro128.fromSeed(E * 1000 + K * 100 + T)
    const rounds = 4000
    const counts = Array.from({ length: rounds }, () => {
      const experts = new Set<number>()
      for (let t = 0; t < T; t++) for (const e of choice(E, K, random)) experts.add(e)
      return experts.size
    })
    const mean = counts.reduce((a, b) => a + b) / rounds
    const variance = counts.reduce((sum, count) => sum + (count - mean) ** 2, 0) / rounds
    const fiveErrors = 5 * Math.sqrt(variance / rounds) // of a right formula, one seed in two million lies further
    expect(Math.abs(mean - expectedDistinct(E, K, T))).toBeLessThanOrEqual(fiveErrors + 1e-9)
  })

  /** K different ones of E, all sets equally likely. */
  function choice(E: number, K: number, random: Xoshiro128): number[] {
    const experts = Array.from({ length: E }, (_, e) => e)
    for (let k = 0; k < K; k++) {
      const other = k + Math.floor(random.uniform() * (E - k))
      ;[experts[k], experts[other]] = [experts[other], experts[k]]
    }
    return experts.slice(0, K)
  }

  test('at its ends', () => {
    expect(expectedDistinct(1, 1, 1000)).toBe(1)
    expect(expectedDistinct(8, 8, 1)).toBe(8)
    expect(expectedDistinct(8, 3, 1)).toBeCloseTo(3, 12)
    expect(expectedDistinct(8, 3, 0)).toBe(0)
  })
})

describe('keys and values', () => {
  const LATENT: AttentionShape = {
    kind: 'latent',
    numHeads: 128,
    queryRank: 1536,
    keyValueRank: 512,
    nopeDim: 128,
    ropeDim: 64,
    valueDim: 128,
  }

  test('latent attention stores the compressed vector and the rotated key', () => {
    expect(attentionFacts(LATENT).cached(LATENT)).toBe(512 + 64)
    const shape = publishedShape(findPublished('deepseek-v3')!)
    // DeepSeek-V2 report, table 1: (d_c + d_h^R) l, in bfloat16 70,272 bytes a token for 61 layers
    const { cacheWritten, cacheRead } = inspectModel(shape, {
      context: 100,
      dtype: 'fp8',
      batches: [1],
    }).bytesPerToken
    expect(cacheWritten).toBe(2 * 61 * 576)
    expect(cacheRead).toBe(100 * cacheWritten)
  })

  test('latent attention: absorbed scores reach for the compressed width', () => {
    const shape = mixtureOf(1, 1, LATENT)
    const scores = (absorbed: boolean) =>
      forwardFlops(shape, { tokens: 1, logitRows: 1, dispatch: 'sparse', context: 10, absorbed })
        .attentionScores
    expect(scores(false)).toBe(2 * 2 * 10 * 128 * (128 + 64 + 128))
    expect(scores(true)).toBe(2 * 2 * 10 * 128 * (512 + 64 + 512))
  })

  test('a window stops growing; a prompt meets on average what its rows meet', () => {
    const windowed = { ...GROUPED, slidingWindow: 4 }
    expect(cacheNumbers(mixtureOf(2, 1, windowed), 100)).toBe(2 * 4 * 2 * 2 * 8)
    for (const [attention, context] of [
      [windowed, 3],
      [windowed, 4],
      [windowed, 11],
      [GROUPED, 11],
    ] as const) {
      const window = attention.slidingWindow ?? Number.POSITIVE_INFINITY
      const rows = Array.from({ length: context }, (_, i) => Math.min(i + 1, window))
      expect(meanKeysMet(attention, context)).toBeCloseTo(rows.reduce((a, b) => a + b) / context, 12)
    }
  })

  test('half of the layers of gpt-oss see 128 keys', () => {
    const shape = publishedShape(findPublished('gpt-oss-20b')!)
    expect(cacheNumbers(shape, 1000)).toBe(12 * (128 + 1000) * 2 * 8 * 64)
  })

  test('lightning attention keeps a state, whatever the context', () => {
    const shape = mixtureOf(2, 1, { kind: 'linear', numHeads: 3, headDim: 5 })
    expect(cacheNumbers(shape, 10)).toBe(2 * 3 * 25)
    expect(cacheNumbers(shape, 10_000)).toBe(2 * 3 * 25)
    expect(decode(shape, 10).attentionScores).toBe(2 * 4 * 3 * 25)
  })
})

describe('arithmetic intensity', () => {
  const options = { context: 512, dtype: 'bfloat16' as const, batches: [1, 8, 64] }
  const { intensity } = inspectModel(publishedShape(findPublished('mixtral-8x7b')!), options)

  test('is FLOPs by bytes, and grows with the batch', () => {
    for (const { flops, weightBytes, cacheBytes, flopsPerByte } of intensity.decode) {
      expect(flopsPerByte).toBe(flops / (weightBytes + cacheBytes))
    }
    const [one, eight, many] = intensity.decode.map(({ flopsPerByte }) => flopsPerByte)
    expect(one).toBeLessThan(eight)
    expect(eight).toBeLessThan(many)
  })

  test('of one sequence is about one: two FLOPs for each weight of two bytes', () => {
    expect(intensity.decode[0].flopsPerByte).toBeCloseTo(1, 1)
  })

  test('a batch of eight reads more experts than one, but fewer than eight times', () => {
    const [one, eight] = intensity.decode
    expect(eight.weightBytes / one.weightBytes).toBeCloseTo(7.2 / 2, 0)
    expect(eight.cacheBytes).toBe(8 * one.cacheBytes)
  })
})

describe('config.json of other families', () => {
  test('a multimodal one is counted by its text_config', () => {
    const scout = findPublished('scout')!
    const wrapped = { model_type: 'llama4', text_config: scout.config, vision_config: {} }
    expect(shapeFromJson(wrapped, 'config.json').shape).toEqual(publishedShape(scout))
  })

  test('each published family is one of the counted types', () => {
    const types = FAMILIES.map(({ modelType }) => modelType)
    for (const { config } of publishedModels()) expect(types).toContain(config.model_type)
  })

  test.each([
    [{}, '"model_type" is missing, expected one of dbrx, deepseek, '],
    [{ model_type: 'toString' }, '"model_type" is "toString", expected one of '],
    [{ num_hidden_layers: -1 }, '"num_hidden_layers" is -1, '],
    [{ num_experts_per_tok: 65 }, '"num_experts_per_tok" is 65, expected at most n_routed_experts=64'],
    [{ moe_intermediate_size: 'wide' }, '"moe_intermediate_size" is "wide", '],
  ])('%j', (change, message) => {
    const { config } = findPublished('deepseek-v2-lite')!
    const json = Object.keys(change).length === 0 ? change : { ...config, ...change }
    expect(() => shapeFromJson(json, 'c.json')).toThrow(`c.json: ${message}`)
  })

  test('those that cannot run yet say so where a model is loaded', () => {
    expect(() => familyOf({ model_type: 'jetmoe' }, 'c.json')).toThrow(
      /^c\.json: "model_type" is "jetmoe", expected one of mixtral, llama, .*, dbrx; it can be inspected, not run \(mixtures of attention heads\)$/,
    )
    for (const family of FAMILIES) if (!family.runnable) expect(family.reason).toMatch(/\w{4}/)
  })

  test('an unknown one is told the nearest that runs', () => {
    const sentence = (model_type: string) => {
      try {
        familyOf({ model_type }, 'c.json')
      } catch (error) {
        return (error as Error).message
      }
    }
    expect(sentence('qwen3_5_moe')).toMatch(/, dbrx; the nearest is qwen3_moe$/)
    expect(sentence('deepseek_v32')).toMatch(/; the nearest is deepseek_v3$/)
    expect(sentence('olmo')).toMatch(/, dbrx; the nearest is olmoe$/)
  })

  test('lists with one value a layer are read layer by layer', () => {
    const { config } = findPublished('hunyuan')!
    const lists = { ...config, moe_topk: new Array(32).fill(8), num_shared_expert: new Array(32).fill(1) }
    expect(countParameters(shapeFromJson(lists, 'c.json').shape)).toEqual(
      countParameters(shapeFromJson(config, 'c.json').shape),
    )
  })
})
