import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import {
  type FeedForwardConfig,
  type LatentAttention,
  type ModelConfig,
  mixturesOf,
  type RouterConfig,
  sigmoidTopK,
} from '../model/config.ts'
import { yarnMagnitude } from '../model/rope-frequencies.ts'
import {
  amount,
  type FieldsOf,
  type FieldTable,
  flag,
  limit,
  positiveInt,
  size,
  used,
  withoutEffect,
} from './fields.ts'
import { checkTopK, type DecoderFields } from './layers.ts'
import { DECODER_NAMES, type NameRule, SHARED_EXPERT_NAMES } from './names.ts'
import { ropeSettings, wholeHeadRopeOf } from './rope.ts'
import { attentionBias, decoderFields, wholeHeads } from './schema.ts'

/*
 * What families have of DeepSeekMoE (arXiv 2401.06066): dense first layers, then routed experts in groups beside shared ones; and
 * of latent attention (arXiv 2405.04434).
 */

const count = z.int().nonnegative()
const noMtp = withoutEffect('blocks for multi-token prediction are not run')

/** Experts, shared ones, groups, with the published class's defaults. */
export function deepseekMoe(d: {
  /** H of dense layers, and of an expert. */
  widths: [dense: number, expert: number]
  experts: number
  topK: number
  shared: number
  groups: [groups: number | null, keep: number | null]
  firstDense: number
  scaling: number
}) {
  return {
    intermediate_size: size(d.widths[0], 'H of the dense layers'),
    moe_intermediate_size: size(d.widths[1], 'H of an expert'),
    n_routed_experts: size(d.experts, 'E'),
    num_experts_per_tok: size(d.topK, 'K, at most the experts of topk_group groups'),
    n_shared_experts: used(
      count.nullable().default(d.shared),
      'experts that every token passes through; null is none',
    ),
    n_group: limit(d.groups[0], 'groups of experts, a divisor of E; null is one'),
    topk_group: limit(d.groups[1], 'groups that experts are chosen from, at most n_group; null is all'),
    routed_scaling_factor: amount(d.scaling, 'multiplies the weights at the end'),
    first_k_dense_replace: used(count.default(d.firstDense), 'so many first layers are dense'),
    num_nextn_predict_layers: noMtp,
    num_mtp_layers: noMtp,
    router_aux_loss_coef: withoutEffect('training only'),
  } satisfies FieldTable
}

export const normTopK = {
  norm_topk_prob: flag(true, 'weights of the chosen are divided by their sum'),
} satisfies FieldTable

type MoeFields = FieldsOf<ReturnType<typeof deepseekMoe>>

/** DeepSeek-V3's router, with its groups. */
export function sigmoidRouter(c: MoeFields & FieldsOf<typeof normTopK>, file: string): RouterConfig {
  return {
    ...sigmoidTopK(c.n_routed_experts, c.num_experts_per_tok),
    weighting: c.norm_topk_prob ? 'normalized' : 'scores',
    scalingFactor: c.routed_scaling_factor,
    groupLimit: groupsOf(c, 'sum-of-top-2', file),
  }
}

/** What layers do with what attention gives: dense, or a mixture with the router. */
export function deepseekFeedForwards(
  c: MoeFields,
  router: RouterConfig,
  bias = false,
): (i: number) => FeedForwardConfig {
  const dense: FeedForwardConfig = { kind: 'dense', intermediateSize: c.intermediate_size, bias }
  const shared = c.n_shared_experts ?? 0
  const moe: FeedForwardConfig = {
    kind: 'moe',
    intermediateSize: c.moe_intermediate_size,
    router,
    sharedExpert: shared
      ? { intermediateSize: c.moe_intermediate_size * shared, ...(bias && { bias }) }
      : undefined,
  }
  return (i) => (i < c.first_k_dense_replace ? dense : moe)
}

/** Groups that hold together, or a sentence; null for one group. */
export function groupsOf(
  c: MoeFields,
  score: NonNullable<RouterConfig['groupLimit']>['score'],
  file: string,
): RouterConfig['groupLimit'] {
  const { n_routed_experts: E, n_group: groups, num_experts_per_tok: K } = c
  checkTopK(K, E, 'n_routed_experts', file)
  if (!groups) return null
  const keep = c.topk_group ?? groups
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
  return groups > 1 ? { groups, keep, score } : null
}

/** Latent attention with the defaults of both published classes. */
export const latentFields = {
  ...decoderFields,
  ...wholeHeads,
  ...attentionBias(false, 'what compresses and the output have biases'),
  qk_head_dim: withoutEffect('the sum of two others'),
  num_key_value_heads: withoutEffect('latent attention has one compressed vector for all heads'),
  q_lora_rank: limit(1536, 'rank of the compressed query; null: not compressed'),
  kv_lora_rank: size(512, 'rank of the compressed keys and values'),
  qk_nope_head_dim: size(128, 'width of a head without rotation'),
  qk_rope_head_dim: used(positiveInt.multipleOf(2).default(64), 'width of a head that rotates, even'),
  v_head_dim: size(128, "width of a head's values"),
  moe_layer_freq: withoutEffect('not read by the published class'),
  scoring_func: withoutEffect('not read by the published class'),
  pretraining_tp: withoutEffect('how a library computes the same'),
  ep_size: withoutEffect('how a library computes the same'),
} satisfies FieldTable

type LatentFields = Omit<FieldsOf<typeof latentFields>, 'head_dim'> &
  DecoderFields & { num_attention_heads: number }

/** Both norms of compressed vectors have this epsilon, whatever rms_norm_eps is. */
const LATENT_EPS = 1e-6

export function latentOf(c: LatentFields, interleaved: boolean, file: string): LatentAttention {
  const rope = wholeHeadRopeOf(c, 1e4, file)
  const { scaling } = rope
  if (ropeSettings(c).mscale_all_dim && scaling.type !== 'yarn' && scaling.type !== 'default')
    throw new ConfigError(
      `${file}: "rope_parameters.mscale_all_dim" is not followed with rope_type ${scaling.type}, expected yarn`,
    )
  const stretch =
    scaling.type === 'yarn' && scaling.mscaleAllDim ? yarnMagnitude(scaling.factor, scaling.mscaleAllDim) : 1
  return {
    kind: 'latent',
    numHeads: c.num_attention_heads,
    queryRank: c.q_lora_rank,
    keyValueRank: c.kv_lora_rank,
    nopeDim: c.qk_nope_head_dim,
    ropeDim: c.qk_rope_head_dim,
    valueDim: c.v_head_dim,
    bias: c.attention_bias,
    rope: { ...rope, ...(interleaved && { interleaved }) },
    scale: (c.qk_nope_head_dim + c.qk_rope_head_dim) ** -0.5 * stretch ** 2,
    latentEps: LATENT_EPS,
  }
}

/** What of a config.json says how layers follow one another, and what their mixtures are. */
export function formatDeepseekMoe({ layers }: ModelConfig): Record<string, unknown> {
  const [moe] = mixturesOf(layers)
  const { router, sharedExpert, intermediateSize } = moe
  return {
    intermediate_size: layers[0].feedForward.intermediateSize,
    moe_intermediate_size: intermediateSize,
    n_routed_experts: router.numExperts,
    num_experts_per_tok: router.topK,
    n_shared_experts: (sharedExpert?.intermediateSize ?? 0) / intermediateSize,
    n_group: router.groupLimit?.groups ?? 1,
    topk_group: router.groupLimit?.keep ?? 1,
    norm_topk_prob: router.weighting === 'normalized',
    routed_scaling_factor: router.scalingFactor,
    first_k_dense_replace: layers.findIndex(({ feedForward }) => feedForward.kind === 'moe'),
  }
}

const ATTENTION = 'model.layers.{layer}.self_attn'
const OURS = 'blocks.{layer}.attention'

export const LATENT_NAMES: NameRule[] = [
  [`${ATTENTION}.q_a_proj.weight`, `${OURS}.qDown`],
  [`${ATTENTION}.q_a_proj.bias`, `${OURS}.qDown.bias`],
  [`${ATTENTION}.q_a_layernorm.weight`, `${OURS}.qNorm`],
  [`${ATTENTION}.q_b_proj.weight`, `${OURS}.qUp`],
  [`${ATTENTION}.kv_a_proj_with_mqa.weight`, `${OURS}.kvDown`],
  [`${ATTENTION}.kv_a_proj_with_mqa.bias`, `${OURS}.kvDown.bias`],
  [`${ATTENTION}.kv_a_layernorm.weight`, `${OURS}.kvNorm`],
  // A head's keys above its values, and so on; ours are all keys above all values.
  [
    `${ATTENTION}.kv_b_proj.weight`,
    `${OURS}.kUp+vUp`,
    { groups: ({ layers }) => layers[0].attention.numHeads },
  ],
  ...SHARED_EXPERT_NAMES,
  ...DECODER_NAMES,
]
