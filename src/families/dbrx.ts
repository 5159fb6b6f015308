import { z } from 'zod'
import type { MoeConfig } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, positive, positiveInt, refused, used, withoutEffect } from './fields.ts'
import { checkTopK, decoderOf, groupedOf, softmaxRouter } from './layers.ts'
import { groupedFields, sizes } from './schema.ts'

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
  ...groupedFields({ tokens: [null, null], heads: [16, 1] }),
  ...sizes({ vocab: 32000, hidden: 2048, layers: 24, positions: 2048, eps: 1e-5 }),
  d_model: aliasOf('hidden_size', false),
  n_heads: aliasOf('num_attention_heads', false),
  n_layers: aliasOf('num_hidden_layers', false),
  max_seq_len: aliasOf('max_position_embeddings', false),
  attn_config: used(attention.prefault({}), 'kv_n_heads, clip_qkv; rope_theta where no rotary settings are'),
  ffn_config: used(
    experts.prefault({}),
    'ffn_hidden_size H, moe_num_experts E, moe_top_k K; weights are divided by their norm of the order moe_normalize_expert_weights, null not',
  ),
  head_dim: refused('none: it is hidden_size / num_attention_heads'),
  hidden_act: withoutEffect('ffn_config has it'),
  num_key_value_heads: withoutEffect('attn_config has them'),
  rms_norm_eps: withoutEffect('1e-5 always'),
  resid_pdrop: withoutEffect('training only'),
  emb_pdrop: withoutEffect('training only'),
} satisfies FieldTable

const BLOCK = 'transformer.blocks.{layer}'
const EXPERTS = 'blocks.{layer}.moe.experts.{expert}'
/** DBRX (Databricks 2024): LayerNorm without bias, clipped queries, keys and values. */
export const dbrx = decoderFamily({
  modelType: 'dbrx',
  fields,
  decoder(c, file) {
    const { attn_config: a, ffn_config: f } = c
    checkTopK(f.moe_top_k, f.moe_num_experts, 'ffn_config', file, 'ffn_config.moe_top_k')
    const own = { ...c, num_key_value_heads: a.kv_n_heads, clip_qkv: a.clip_qkv, rms_norm_eps: 1e-5 }
    const attention = groupedOf(own, a.rope_theta, file)
    const order = f.moe_normalize_expert_weights
    const router = {
      ...softmaxRouter(f.moe_num_experts, f.moe_top_k, order !== null),
      ...(order && order !== 1 && { normOrder: order }),
    }
    const feedForward: MoeConfig = { kind: 'moe', intermediateSize: f.ffn_hidden_size, router }
    return { ...decoderOf(own, () => ({ attention, feedForward })), norms: { perLayer: 2, bias: false } }
  },
  names: [
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
  ],
})
