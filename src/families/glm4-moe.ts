import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import {
  type FeedForwardConfig,
  type GroupedAttention,
  mixturesOf,
  type RouterConfig,
  sigmoidTopK,
} from '../model/config.ts'
import type { RunnableFamily } from './family.ts'
import { aliasOf, type FieldsOf, type FieldTable, readFields, used, withoutEffect } from './fields.ts'
import { DECODER_NAMES, isStaleBuffer } from './names.ts'
import {
  allVisible,
  decoderFields,
  decoderOf,
  formatDecoder,
  headsOf,
  layerCount,
  positive,
  positiveInt,
  ropeOf,
  ropeSettings,
  share,
  tokenIds,
} from './schema.ts'

/** Defaults are the class defaults of the published Glm4MoeConfig. */
const fields = {
  ...decoderFields,
  ...tokenIds(null, null),
  ...allVisible,
  partial_rotary_factor: used(
    share.nullable().default(0.5),
    'share of a head that rotates, an even number of channels; null is all',
  ),
  vocab_size: used(positiveInt.default(151552), 'V'),
  hidden_size: used(positiveInt.default(4096), 'D'),
  intermediate_size: used(positiveInt.default(10944), 'H of the dense layers'),
  moe_intermediate_size: used(positiveInt.default(1408), 'H of an expert'),
  num_hidden_layers: used(layerCount.default(46), 'layers, at most 10,000'),
  num_attention_heads: used(
    positiveInt.default(96),
    'query heads; without head_dim a divisor of hidden_size',
  ),
  num_key_value_heads: used(
    positiveInt.nullable().default(8),
    'key-value heads, a divisor of num_attention_heads; null is as many',
  ),
  max_position_embeddings: used(positiveInt.default(131072), 'positions'),
  rms_norm_eps: used(positive.default(1e-5), 'epsilon of the norms'),
  attention_bias: used(z.boolean().default(false), 'queries, keys and values have biases'),
  use_qk_norm: used(z.boolean().default(false), 'queries and keys are normed, each head alike'),
  n_routed_experts: used(positiveInt.default(128), 'E'),
  num_local_experts: aliasOf('n_routed_experts'),
  num_experts_per_tok: used(positiveInt.default(8), 'K, at most the experts of topk_group groups'),
  n_shared_experts: used(z.int().nonnegative().default(1), 'experts that every token passes through'),
  n_group: used(positiveInt.default(1), 'groups of experts, a divisor of E'),
  topk_group: used(positiveInt.default(1), 'groups that experts are chosen from, at most n_group'),
  norm_topk_prob: used(z.boolean().default(true), 'weights of the chosen are divided by their sum'),
  routed_scaling_factor: used(positive.default(1), 'multiplies the weights at the end'),
  first_k_dense_replace: used(z.int().nonnegative().default(1), 'so many first layers are dense'),
  num_nextn_predict_layers: withoutEffect('blocks for multi-token prediction are not run'),
  num_mtp_layers: withoutEffect('blocks for multi-token prediction are not run'),
  router_aux_loss_coef: withoutEffect('training only'),
} satisfies FieldTable

/**
 * GLM-4.5 (Zhipu AI 2025): DeepSeek-V3's routing - sigmoid scores, a choosing bias instead of a balancing loss, groups,
 * a shared expert, dense first layers - on plain grouped-query attention.
 */
export const glm4Moe: RunnableFamily = {
  runnable: true,
  modelType: 'glm4_moe',
  fields,
  parseConfig(json, file) {
    const c = readFields(fields, json, file)
    const heads = headsOf(c, file)
    const attention: GroupedAttention = {
      ...heads,
      bias: c.attention_bias,
      outputBias: false,
      qkNorm: c.use_qk_norm ? 'per-head' : undefined,
      slidingWindow: null,
      rope: { ...ropeOf(c, 1e4, file), rotaryDim: rotaryDimOf(c, heads.headDim, file) },
    }
    const dense: FeedForwardConfig = { kind: 'dense', intermediateSize: c.intermediate_size, bias: false }
    const moe: FeedForwardConfig = {
      kind: 'moe',
      intermediateSize: c.moe_intermediate_size,
      router: routerOf(c, file),
      sharedExpert: c.n_shared_experts
        ? { intermediateSize: c.moe_intermediate_size * c.n_shared_experts }
        : undefined,
    }
    return decoderOf('glm4_moe', c, (i) => ({
      attention,
      feedForward: i < c.first_k_dense_replace ? dense : moe,
    }))
  },
  formatConfig(config) {
    const [{ attention, feedForward: first }] = config.layers
    const [moe] = mixturesOf(config.layers)
    const { router, sharedExpert } = moe
    const { rope_parameters, ...decoder } = formatDecoder(config)
    return {
      architectures: ['Glm4MoeForCausalLM'],
      model_type: 'glm4_moe',
      ...decoder,
      rope_parameters: {
        ...(rope_parameters as object),
        partial_rotary_factor: (attention.rope.rotaryDim ?? attention.headDim) / attention.headDim,
      },
      intermediate_size: first.intermediateSize,
      moe_intermediate_size: moe.intermediateSize,
      attention_bias: attention.bias,
      use_qk_norm: attention.qkNorm !== undefined,
      n_routed_experts: router.numExperts,
      num_experts_per_tok: router.topK,
      n_shared_experts: (sharedExpert?.intermediateSize ?? 0) / moe.intermediateSize,
      n_group: router.groupLimit?.groups ?? 1,
      topk_group: router.groupLimit?.keep ?? 1,
      norm_topk_prob: router.weighting === 'normalized',
      routed_scaling_factor: router.scalingFactor,
      first_k_dense_replace: config.layers.findIndex(({ feedForward }) => feedForward.kind === 'moe'),
    }
  },
  names: [
    ['model.layers.{layer}.self_attn.{part}_norm.weight', 'blocks.{layer}.attention.{part}Norm'],
    ['model.layers.{layer}.mlp.gate.e_score_correction_bias', 'blocks.{layer}.moe.scoreBias'],
    ['model.layers.{layer}.mlp.shared_experts.{part}_proj.weight', 'blocks.{layer}.moe.shared.{part}'],
    ...DECODER_NAMES,
  ],
  // Blocks past the last are for multi-token prediction.
  ignored: (name, config) =>
    isStaleBuffer(name) || Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1) >= config.layers.length,
}

/** Channels that rotate, as transformers cuts them: a whole number, of which each two are a pair. */
function rotaryDimOf(c: FieldsOf<typeof fields>, headDim: number, file: string): number {
  const rotaryShare = ropeSettings(c).partial_rotary_factor ?? c.partial_rotary_factor ?? 1
  const dim = Math.floor(headDim * rotaryShare)
  if (dim > 0 && dim % 2 === 0) return dim
  throw new ConfigError(
    `${file}: "partial_rotary_factor" is ${rotaryShare}, expected a share of head_dim=${headDim} that is an even number`,
  )
}

function routerOf(c: FieldsOf<typeof fields>, file: string): RouterConfig {
  const { n_routed_experts: E, num_experts_per_tok: K, n_group: groups, topk_group: keep } = c
  if (E % groups !== 0) {
    throw new ConfigError(`${file}: "n_group" is ${groups}, expected a divisor of n_routed_experts=${E}`)
  }
  if (keep > groups)
    throw new ConfigError(`${file}: "topk_group" is ${keep}, expected at most n_group=${groups}`)
  if (K > (keep * E) / groups) {
    throw new ConfigError(
      `${file}: "num_experts_per_tok" is ${K}, expected at most the ${(keep * E) / groups} experts of ${keep} groups`,
    )
  }
  return {
    ...sigmoidTopK(E, K),
    weighting: c.norm_topk_prob ? 'normalized' : 'scores',
    scalingFactor: c.routed_scaling_factor,
    groupLimit: groups > 1 ? { groups, keep, score: 'sum-of-top-2' } : null,
  }
}
