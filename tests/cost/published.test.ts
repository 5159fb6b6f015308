import { describe, expect, test } from 'vitest'
import { findPublished, nearNames, publishedModels } from '../../src/cost/find-published.ts'
import { totalFlops } from '../../src/cost/flops.ts'
import { inspectModel } from '../../src/cost/inspection.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import {
  CONVENTIONS,
  compareWithPublished,
  countsByConvention,
  type PublishedModel,
  printedLike,
  publishedShape,
} from '../../src/cost/published.ts'
import { nominalTrainingFlops, trainingFlops } from '../../src/cost/training.ts'

const MODELS = publishedModels()

function named(name: string): PublishedModel {
  const model = findPublished(name)
  if (!model) throw new Error(`no ${name}`)
  return model
}

/** Figures further than 1 % from the count, as counted; each has its reason in the data file or in its rounding. */
const FURTHER: Record<string, [quantity: string, agreement: string, counted: number][]> = {
  'deepseek-ai/DeepSeek-V3': [['active', 'rounding', 36_625_618_432]],
  'deepseek-ai/DeepSeek-R1': [['active', 'rounding', 36_625_618_432]],
  'deepseek-ai/DeepSeek-V2-Lite': [['active', 'explained', 2_451_435_008]],
  'deepseek-ai/deepseek-moe-16b-base': [['active', 'rounding', 2_828_650_496]],
  'allenai/OLMoE-1B-7B-0924': [['active', 'rounding', 1_282_017_280]],
  'Qwen/Qwen2-57B-A14B': [['active', 'rounding', 14_249_270_784]],
  'Qwen/Qwen3-30B-A3B': [['active', 'explained', 3_353_032_704]],
  'ibm-granite/granite-3.0-1b-a400m-base': [
    ['total', 'rounding', 1_334_628_352],
    ['active', 'explained', 378_323_968],
  ],
  'meta-llama/Llama-4-Scout-17B-16E': [
    ['total', 'explained', 107_769_861_120],
    ['active', 'rounding', 17_172_894_720],
  ],
  'meta-llama/Llama-4-Maverick-17B-128E': [['active', 'rounding', 17_184_691_200]],
  'moonshotai/Kimi-K2-Instruct': [['total', 'explained', 1_026_408_232_448]],
  'zai-org/GLM-4.5-Air': [['active', 'rounding', 12_182_615_680]],
  'MiniMaxAI/MiniMax-M2': [['active', 'rounding', 9_801_359_872]],
  'jetmoe/jetmoe-8b': [
    ['total', 'explained', 8_522_237_952],
    ['active', 'explained', 2_265_909_248],
  ],
  'tencent/Hunyuan-A13B-Instruct': [['active', 'rounding', 12_747_448_320]],
}

describe('counted parameters of published models', () => {
  test('there are the 28 mixtures and the two dense models they are compared with', () => {
    expect(MODELS).toHaveLength(30)
    expect(new Set(MODELS.map(({ name }) => name)).size).toBe(30)
  })

  test.each(MODELS.map((model) => [model.name, model] as const))(
    '%s: within 1 % of the published figures, or listed with a reason',
    (name, model) => {
      const comparisons = compareWithPublished(model)
      const published = (['total', 'active'] as const).filter((q) => model.published[q] !== null)
      expect(comparisons.map(({ quantity }) => quantity)).toEqual(published)
      const further = comparisons.filter(({ difference }) => Math.abs(difference) > 0.01)
      expect(further.map(({ quantity, agreement, counted }) => [quantity, agreement, counted])).toEqual(
        FURTHER[name] ?? [],
      )
      for (const { why } of further) expect(why).toMatch(/\w{3}.*\.$/)
    },
  )

  test('a reason in the data file belongs to a figure that needs one', () => {
    const given = MODELS.flatMap(({ name, differences }) =>
      Object.keys(differences ?? {}).map((quantity) => `${name} ${quantity}`),
    )
    const needed = MODELS.flatMap((model) =>
      compareWithPublished(model)
        .filter(({ agreement }) => agreement === 'explained')
        .map(({ quantity }) => `${model.name} ${quantity}`),
    )
    expect(given).toEqual(needed)
  })

  test('every figure names its source', () => {
    for (const { published, configSource } of MODELS) {
      expect(published.source.length).toBeGreaterThan(10)
      expect(configSource.length).toBeGreaterThan(10)
    }
  })

  // deepseek-ai/DeepSeek-V3 README_WEIGHTS.md: 671B = 0.9B embedding + 0.9B head + the rest
  test('DeepSeek-V3 by part', () => {
    const { parts, total } = countParameters(publishedShape(named('deepseek-v3')))
    expect(parts.embedding).toBe(129_280 * 7168)
    expect(parts.experts).toBe(58 * 256 * 3 * 7168 * 2048)
    expect(parts.sharedExperts).toBe(58 * 3 * 7168 * 2048)
    expect(parts.dense).toBe(3 * 3 * 7168 * 18_432)
    const latent = 7168 * 1536 + 1536 * 128 * 192 + 7168 * (512 + 64) + 512 * 128 * 256 + 128 * 128 * 7168
    expect(parts.attention).toBe(61 * latent)
    expect(total).toBe(671_026_419_200)
  })

  test('attention experts of JetMoE: keys and values always, queries and output of 2 of 8', () => {
    const shape = publishedShape(named('jetmoe'))
    const { parts } = countParameters(shape)
    expect(parts.attention).toBe(24 * (2 * 2048 * 2048 * 9 + 2048))
    const { activeParts } = inspectModel(shape, {
      context: 1,
      dtype: 'bfloat16',
      batches: [1],
    }).parameters
    expect(activeParts.attention).toBe(24 * (2 * 2048 * 2048 * 3 + 2048))
  })

  test('the three ways of counting, tied and untied', () => {
    for (const model of MODELS) {
      const shape = publishedShape(model)
      const { parts } = countParameters(shape)
      const [all, noInput, none] = CONVENTIONS.map((way) => countsByConvention(shape)[way])
      expect(all.total - noInput.total).toBe(shape.tieWordEmbeddings ? 0 : parts.embedding)
      expect(all.active - none.active).toBe(parts.embedding + parts.unembedding)
    }
  })
})

describe('training FLOPs of DeepSeekMoE tables 3 and 4', () => {
  const published = MODELS.filter(({ trainingFlops }) => trainingFlops)

  test('are those of three models', () => {
    expect(published.map(({ trainingFlops }) => trainingFlops?.flops)).toEqual([74.4e12, 183.5e12, 187.9e12])
  })

  test.each(published.map((model) => [model.name, model] as const))(
    '%s: nominal shapes give the figure',
    (_, model) => {
      const { perTokens, flops } = model.trainingFlops!
      const shape = publishedShape(model)
      expect(Math.abs(nominalTrainingFlops(shape, perTokens) / flops - 1)).toBeLessThan(0.001)
    },
  )

  // The real matrices are up to 3 % wider than nominal ones: 11008 for 10923, 1408 for 1365.
  test.each([
    ['deepseek-moe-16b-base', 0.0203],
    ['deepseek-llm-7b-base', 0.0042],
    ['llama-2-7b-hf', 0.0046],
  ])('%s: the real matrices cost a little more', (name, more) => {
    const model = named(name)
    const { perTokens, flops } = model.trainingFlops!
    const counted = totalFlops(trainingFlops(publishedShape(model), perTokens, 'full'))
    expect(counted / flops - 1).toBeCloseTo(more, 3)
  })
})

describe('names', () => {
  test.each([
    ['mistralai/Mixtral-8x7B-v0.1', 'mistralai/Mixtral-8x7B-v0.1'],
    ['MIXTRAL-8X7B-V0.1', 'mistralai/Mixtral-8x7B-v0.1'],
    ['deepseek-v2', 'deepseek-ai/DeepSeek-V2'], // also the beginning of V2-Lite
    ['mixtral-8x22b', 'mistralai/Mixtral-8x22B-v0.1'],
  ])('%s is %s', (name, found) => {
    expect(findPublished(name)?.name).toBe(found)
  })

  test('none, or several', () => {
    expect(findPublished('')).toBeUndefined()
    expect(findPublished('gpt-5')).toBeUndefined()
    expect(() => findPublished('gpt-oss')).toThrow(
      'gpt-oss: several models have that in their name: openai/gpt-oss-20b, openai/gpt-oss-120b',
    )
    expect(nearNames('mixtrall-8x7')[0]).toBe('mistralai/Mixtral-8x7B-v0.1')
  })
})

test('a number printed like another', () => {
  expect(printedLike(12.88e9, '12.9B')).toBe('12.9B')
  expect(printedLike(1.026e12, '1T')).toBe('1T')
  expect(printedLike(378e6, '400M')).toBe('378M')
  expect(() => printedLike(1, 'many')).toThrow('"many" is no figure')
})
