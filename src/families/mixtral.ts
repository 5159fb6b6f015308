import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { type LayerConfig, type MoeConfig, softmaxTopK } from '../model/config.ts'
import type { RunnableFamily } from './family.ts'
import { DECODER_NAMES, isStaleBuffer } from './names.ts'
import {
  decoderFields,
  decoderOf,
  formatDecoder,
  headsOf,
  layerCount,
  parseFields,
  positive,
  positiveInt,
  ropeOf,
} from './schema.ts'

/** Defaults are the class defaults of the published MixtralConfig. */
const fields = z.looseObject({
  ...decoderFields,
  model_type: z.literal('mixtral'),
  vocab_size: positiveInt.default(32000),
  hidden_size: positiveInt.default(4096),
  intermediate_size: positiveInt.default(14336),
  num_hidden_layers: layerCount.default(32),
  num_attention_heads: positiveInt.default(32),
  num_key_value_heads: positiveInt.nullable().default(8),
  max_position_embeddings: positiveInt.default(4096 * 32),
  rms_norm_eps: positive.default(1e-5),
  num_local_experts: positiveInt.default(8),
  num_experts_per_tok: positiveInt.default(2),
  sliding_window: positiveInt.nullable().default(null),
})

/** Mixtral of Experts (Jiang et al. 2024): every layer a softmax router with renormalised top-k over SwiGLU experts. */
export const mixtral: RunnableFamily = {
  runnable: true,
  modelType: 'mixtral',
  parseConfig(json, file) {
    const c = parseFields(fields, json, file)
    if (c.num_experts_per_tok > c.num_local_experts) {
      throw new ConfigError(
        `${file}: "num_experts_per_tok" is ${c.num_experts_per_tok}, expected at most num_local_experts=${c.num_local_experts}`,
      )
    }
    const layer: LayerConfig = {
      attention: {
        ...headsOf(c, file),
        bias: false,
        slidingWindow: c.sliding_window,
        rope: ropeOf(c, 1e6, file),
      },
      feedForward: {
        kind: 'moe',
        intermediateSize: c.intermediate_size,
        router: softmaxTopK(c.num_local_experts, c.num_experts_per_tok),
      },
    }
    return decoderOf('mixtral', c, () => layer)
  },
  formatConfig(config) {
    const [{ attention, feedForward }] = config.layers
    const { intermediateSize, router } = feedForward as MoeConfig
    return {
      architectures: ['MixtralForCausalLM'],
      model_type: 'mixtral',
      ...formatDecoder(config),
      intermediate_size: intermediateSize,
      num_local_experts: router.numExperts,
      num_experts_per_tok: router.topK,
      sliding_window: attention.slidingWindow,
    }
  },
  names: [
    ['model.layers.{layer}.block_sparse_moe.gate.weight', 'blocks.{layer}.moe.router'],
    [
      'model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight',
      'blocks.{layer}.moe.experts.{expert}.gate',
    ],
    [
      'model.layers.{layer}.block_sparse_moe.experts.{expert}.w3.weight',
      'blocks.{layer}.moe.experts.{expert}.up',
    ],
    [
      'model.layers.{layer}.block_sparse_moe.experts.{expert}.w2.weight',
      'blocks.{layer}.moe.experts.{expert}.down',
    ],
    ...DECODER_NAMES,
  ],
  ignored: isStaleBuffer,
}
