import { z } from 'zod'
import { type MoeConfig, softmaxTopK } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { type FieldTable, positive, positiveInt, size, used, withoutEffect } from './fields.ts'
import { checkTopK, decoderOf, groupedOf } from './layers.ts'
import type { NameRule } from './names.ts'
import { decoderFields, layerCount, tokenIds, wholeHeads } from './schema.ts'

const { hidden_act: _, head_dim: __, ...common } = decoderFields

const attention = z.looseObject({
  kv_n_heads: positiveInt.default(1),
  clip_qkv: positive.nullish(),
  rope_theta: positive.default(10000),
})

const experts = z.looseObject({
  ffn_hidden_size: positiveInt.default(3584),
  ffn_act_fn: z.looseObject({ name: z.enum(['silu', 'swish']).default('silu') }).nullish(),
  moe_num_experts: positiveInt.default(4),
  moe_top_k: positiveInt.default(1),
  moe_normalize_expert_weights: positive.nullable().default(1),
})

/** Defaults are the class defaults of the published DbrxConfig. */
const fields = {
  ...common,
  ...tokenIds(null, null),
  ...wholeHeads,
  vocab_size: size(32000, 'V'),
  d_model: size(2048, 'D, a multiple of n_heads'),
  n_heads: size(16, 'query heads'),
  n_layers: used(layerCount.default(24), 'layers, at most 10,000'),
  max_seq_len: size(2048, 'positions'),
  attn_config: used(
    attention.prefault({}),
    'kv_n_heads, clip_qkv, and rope_theta where no rotary settings are',
  ),
  ffn_config: used(
    experts.prefault({}),
    'ffn_hidden_size H, moe_num_experts E, moe_top_k K; weights are divided by their norm of the order moe_normalize_expert_weights, null not',
  ),
  num_key_value_heads: withoutEffect('attn_config has them'),
  resid_pdrop: withoutEffect('training only'),
  emb_pdrop: withoutEffect('training only'),
} satisfies FieldTable

const BLOCK = 'transformer.blocks.{layer}'
const EXPERTS = 'blocks.{layer}.moe.experts.{expert}'
const NAMES: NameRule[] = [
  ['transformer.wte.weight', 'embedding'],
  ['transformer.norm_f.weight', 'finalNorm'],
  ['lm_head.weight', 'unembedding'],
  [`${BLOCK}.norm_attn_norm.norm_1.weight`, 'blocks.{layer}.attentionNorm'],
  [`${BLOCK}.norm_attn_norm.norm_2.weight`, 'blocks.{layer}.feedForwardNorm'],
  [`${BLOCK}.norm_attn_norm.attn.Wqkv.weight`, 'blocks.{layer}.attention.q+k+v'],
  [`${BLOCK}.norm_attn_norm.attn.out_proj.weight`, 'blocks.{layer}.attention.o'],
  [`${BLOCK}.ffn.router.layer.weight`, 'blocks.{layer}.moe.router'],
  [`${BLOCK}.ffn.experts.mlp.w1`, `${EXPERTS}.gate`, { flat: true }],
  [`${BLOCK}.ffn.experts.mlp.v1`, `${EXPERTS}.up`, { flat: true }],
  [`${BLOCK}.ffn.experts.mlp.w2`, `${EXPERTS}.down`, { flat: true, transposed: true }],
]

/** DBRX (Databricks 2024): LayerNorm without bias, clipped queries, keys and values. */
export const dbrx = decoderFamily({
  modelType: 'dbrx',
  fields,
  decoder(c, file) {
    const { attn_config: a, ffn_config: f } = c
    checkTopK(f.moe_top_k, f.moe_num_experts, 'moe_num_experts', file, 'moe_top_k')
    const decoder = {
      ...c,
      hidden_size: c.d_model,
      num_hidden_layers: c.n_layers,
      num_attention_heads: c.n_heads,
      num_key_value_heads: a.kv_n_heads,
      max_position_embeddings: c.max_seq_len,
      rms_norm_eps: 1e-5,
    }
    const grouped = { ...groupedOf(decoder, a.rope_theta, file), ...(a.clip_qkv && { clip: a.clip_qkv }) }
    const order = f.moe_normalize_expert_weights
    const feedForward: MoeConfig = {
      kind: 'moe',
      intermediateSize: f.ffn_hidden_size,
      router: {
        ...softmaxTopK(f.moe_num_experts, f.moe_top_k),
        ...(order === null ? { weighting: 'scores' } : order !== 1 && { normOrder: order }),
      },
    }
    return {
      ...decoderOf(decoder, () => ({ attention: grouped, feedForward })),
      norms: { perLayer: 2, bias: false },
    }
  },
  names: NAMES,
})
