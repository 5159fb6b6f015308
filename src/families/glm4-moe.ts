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

/** Defaults are the class defaults of the published Glm4MoeConfig. */
const fields = z.looseObject({
  ...decoderFields,
  model_type: z.literal('glm4_moe'),
  vocab_size: positiveInt.default(151552),
  hidden_size: positiveInt.default(4096),
  intermediate_size: positiveInt.default(10944),
  moe_intermediate_size: positiveInt.default(1408),
  num_hidden_layers: layerCount.default(46),
  num_attention_heads: positiveInt.default(96),
  num_key_value_heads: positiveInt.nullable().default(8),
  max_position_embeddings: positiveInt.default(131072),
  rms_norm_eps: positive.default(1e-5),
  attention_bias: z.boolean().default(false),
  use_qk_norm: z.boolean().default(false),
  n_routed_experts: positiveInt.default(128),
  num_experts_per_tok: positiveInt.default(8),
  n_shared_experts: z.int().nonnegative().default(1),
  n_group: positiveInt.default(1),
  topk_group: positiveInt.default(1),
  norm_topk_prob: z.boolean().default(true),
  routed_scaling_factor: positive.default(1),
  first_k_dense_replace: z.int().nonnegative().default(1),
})

/**
 * GLM-4.5 (Zhipu AI 2025): DeepSeek-V3's routing - sigmoid scores, a choosing bias instead of a balancing loss, groups,
 * a shared expert, dense first layers - on plain grouped-query attention.
 */
export const glm4Moe: RunnableFamily = {
  runnable: true,
  modelType: 'glm4_moe',
  parseConfig(json, file) {
    const c = parseFields(fields, json, file)
    const heads = headsOf(c, file)
    const rotaryShare = c.rope_parameters?.partial_rotary_factor ?? c.partial_rotary_factor ?? 0.5
    const attention: GroupedAttention = {
      ...heads,
      bias: c.attention_bias,
      outputBias: false,
      qkNorm: c.use_qk_norm ? 'per-head' : undefined,
      slidingWindow: null,
      rope: { ...ropeOf(c, 1e4, file), rotaryDim: Math.floor(heads.headDim * rotaryShare) },
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

function routerOf(c: z.output<typeof fields>, file: string): RouterConfig {
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
