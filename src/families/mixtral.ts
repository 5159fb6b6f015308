import { ConfigError } from '../errors.ts'
import { type LayerConfig, type MoeConfig, softmaxTopK } from '../model/config.ts'
import type { RunnableFamily } from './family.ts'
import { aliasOf, type FieldTable, readFields, used, withoutEffect } from './fields.ts'
import { DECODER_NAMES, isStaleBuffer } from './names.ts'
import {
  decoderFields,
  decoderOf,
  formatDecoder,
  headsOf,
  layerCount,
  positive,
  positiveInt,
  tokenIds,
  wholeHeadRopeOf,
  wholeHeads,
} from './schema.ts'

/** Defaults are the class defaults of the published MixtralConfig. */
const fields = {
  ...decoderFields,
  ...tokenIds(1, 2),
  ...wholeHeads,
  vocab_size: used(positiveInt.default(32000), 'V'),
  hidden_size: used(positiveInt.default(4096), 'D'),
  intermediate_size: used(positiveInt.default(14336), 'H of an expert'),
  num_hidden_layers: used(layerCount.default(32), 'layers, at most 10,000'),
  num_attention_heads: used(
    positiveInt.default(32),
    'query heads; without head_dim a divisor of hidden_size',
  ),
  num_key_value_heads: used(
    positiveInt.nullable().default(8),
    'key-value heads, a divisor of num_attention_heads; null is as many',
  ),
  max_position_embeddings: used(positiveInt.default(4096 * 32), 'positions'),
  rms_norm_eps: used(positive.default(1e-5), 'epsilon of the norms'),
  num_local_experts: used(positiveInt.default(8), 'E'),
  num_experts: aliasOf('num_local_experts'),
  num_experts_per_tok: used(positiveInt.default(2), 'K, at most E'),
  sliding_window: used(
    positiveInt.nullable().default(null),
    'keys that a token sees, itself included; null is all',
  ),
  router_aux_loss_coef: withoutEffect('training only'),
  router_jitter_noise: withoutEffect('training only'),
} satisfies FieldTable

/** Mixtral of Experts (Jiang et al. 2024): every layer a softmax router with renormalised top-k over SwiGLU experts. */
export const mixtral: RunnableFamily = {
  runnable: true,
  modelType: 'mixtral',
  fields,
  parseConfig(json, file) {
    const c = readFields(fields, json, file)
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
        rope: wholeHeadRopeOf(c, 1e6, file),
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
