import { beforeAll, describe, expect, test } from 'vitest'
import {
  cachedNumbers,
  forwardWeightBytes,
  moeLayerWeightBytes,
  weightBytesPerToken,
} from '../../src/cost/bytes.ts'
import { flopsPerToken, moeLayerFlops, totalFlops } from '../../src/cost/flops.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import { startRuntime } from '../../src/device/index.ts'
import { familyOf } from '../../src/families/index.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import { allTensors } from '../../src/model/weights.ts'
import { fixtureModel } from '../helpers/golden.ts'
import { randomModel } from '../helpers/random.ts'

function configOf(json: object): ModelConfig {
  return familyOf(json, 'config.json').parseConfig(json, 'config.json')
}

// mistralai/Mixtral-8x7B-v0.1 and Mixtral-8x22B-v0.1, config.json
const MIXTRAL_8X7B = configOf({
  model_type: 'mixtral',
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  tie_word_embeddings: false,
})
const MIXTRAL_8X22B = configOf({
  model_type: 'mixtral',
  vocab_size: 32768,
  hidden_size: 6144,
  intermediate_size: 16384,
  num_hidden_layers: 56,
  num_attention_heads: 48,
  num_key_value_heads: 8,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  tie_word_embeddings: false,
})

describe('parameters', () => {
  test('of the published Mixtrals: 46.7B total and 12.9B active, 141B and 39B', () => {
    const small = countParameters(MIXTRAL_8X7B)
    expect(small.total).toBe(46_702_792_704) // the file's own count on the Hub
    expect(small.active / 1e9).toBeCloseTo(12.88, 2)
    expect(small.totalWithoutEmbeddings).toBe(small.total - 2 * 32000 * 4096)
    expect(small.activeWithoutEmbeddings / 1e9).toBeCloseTo(12.618, 3)
    const large = countParameters(MIXTRAL_8X22B)
    expect(Math.round(large.total / 1e9)).toBe(141)
    expect(Math.round(large.active / 1e9)).toBe(39)
  })

  describe('equal the tensors that are there', () => {
    beforeAll(async () => {
      await startRuntime({ device: 'js' })
    })

    test.each(['mixtral', 'llama', 'llama/f16', 'glm4_moe'])('fixture %s', (name) => {
      const model = fixtureModel(name)
      const tensors = allTensors(model.weights).reduce((sum, tensor) => sum + tensor.size, 0)
      const biases = model.weights.blocks.map(({ feedForward }) =>
        feedForward.kind === 'moe' ? (feedForward.scoreBias?.length ?? 0) : 0,
      )
      expect(countParameters(model.config).total).toBe(tensors + biases.reduce((a, b) => a + b, 0))
      model.dispose()
    })

    test('with tied embeddings the matrix counts once', () => {
      const model = randomModel({ tied: true })
      const { total, totalWithoutEmbeddings } = countParameters(model.config)
      expect(total).toBe(allTensors(model.weights).reduce((sum, tensor) => sum + tensor.size, 0))
      expect(total - totalWithoutEmbeddings).toBe(40 * 16)
      model.dispose()
    })
  })

  test('a model without experts is active as a whole', () => {
    const dense = configOf({
      model_type: 'llama',
      vocab_size: 100,
      hidden_size: 16,
      intermediate_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      attention_bias: true,
      mlp_bias: true,
    })
    const { total, active, parts } = countParameters(dense)
    expect(active).toBe(total)
    expect(parts.experts + parts.router).toBe(0)
  })
})

describe('FLOPs', () => {
  test('of one layer, by hand', () => {
    const dims = { T: 3, D: 4, H: 5, E: 6, K: 2 }
    const router = 2 * 3 * 4 * 6
    const row = 2 * 3 * 4 * 5
    expect(moeLayerFlops(dims, 'dense')).toBe(router + 18 * row)
    expect(moeLayerFlops(dims, 'sparse')).toBe(router + 6 * row)
    expect(moeLayerFlops(dims, 'gather')).toBe(router + 6 * row)
  })

  test('a token costs twice its active weights, plus the attention to its context', () => {
    const { active, parts } = countParameters(MIXTRAL_8X7B)
    const flops = flopsPerToken(MIXTRAL_8X7B, 1000, 'sparse')
    expect(totalFlops(flops) - flops.attentionScores).toBe(2 * (active - parts.embedding - parts.norms))
    expect(flops.attentionScores).toBe(32 * 4 * 1000 * 4096)
  })

  test('dense runs E/K times the experts of sparse', () => {
    const of = (dispatch: 'dense' | 'sparse') => flopsPerToken(MIXTRAL_8X7B, 1, dispatch)
    expect(of('dense').experts / of('sparse').experts).toBe(8 / 2)
    expect({ ...of('dense'), experts: 0 }).toEqual({ ...of('sparse'), experts: 0 })
  })
})

describe('weight bytes', () => {
  test('of one layer grow with the experts touched', () => {
    const dims = { D: 4, H: 5, E: 6 }
    expect(moeLayerWeightBytes(dims, 0)).toBe(4 * 24)
    expect(moeLayerWeightBytes(dims, 2)).toBe(4 * (24 + 2 * 60))
  })

  test('of one token are its active parameters without the rest of the input table', () => {
    const { active, parts } = countParameters(MIXTRAL_8X7B)
    expect(weightBytesPerToken(MIXTRAL_8X7B)).toBe(4 * (active - parts.embedding + 4096))
  })

  test('touching every expert reads the model', () => {
    const { total, parts } = countParameters(MIXTRAL_8X7B)
    expect(forwardWeightBytes(MIXTRAL_8X7B, 1, new Array(32).fill(8))).toBe(
      4 * (total - parts.embedding + 4096),
    )
  })
})

test('latent attention leaves what it compresses in the cache, plain attention of its heads all keys and values', () => {
  // deepseek-ai/DeepSeek-V3, config.json: 61 layers, 128 heads of 128 + 64 for keys and 128 for values
  expect(cachedNumbers(configOf({ model_type: 'deepseek_v3', num_hidden_layers: 61 }))).toEqual({
    kept: 61 * (512 + 64),
    plain: 61 * 128 * (128 + 64 + 128),
  })
  const { kept, plain } = cachedNumbers(MIXTRAL_8X7B)
  expect([kept, plain]).toEqual([32 * 2 * 8 * 128, kept])
})
