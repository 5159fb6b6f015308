import fc from 'fast-check'

/*
 * Small configs of every family that runs, as its config.json has them: any sizes, and each of its options on or off.
 */

const oneOf = fc.constantFrom
const eps = oneOf(1e-6, 1e-5, 1e-3)

const rope = fc.oneof(
  fc.constant({ rope_type: 'default', rope_theta: 100 }),
  fc.constant({ rope_type: 'linear', factor: 2, rope_theta: 100 }),
  fc.record({
    rope_type: fc.constant('llama3'),
    rope_theta: fc.constant(100),
    factor: oneOf(2, 8),
    low_freq_factor: fc.constant(1),
    high_freq_factor: fc.constant(4),
    original_max_position_embeddings: oneOf(8, 32),
  }),
  fc.record({
    rope_type: fc.constant('yarn'),
    rope_theta: fc.constant(100),
    factor: oneOf(2, 8),
    original_max_position_embeddings: oneOf(8, 32),
    truncate: fc.boolean(),
    mscale: oneOf(0, 0.7, 1),
    mscale_all_dim: oneOf(0, 0.7, 1),
  }),
)

const common = {
  vocab_size: fc.constant(40),
  num_hidden_layers: fc.integer({ min: 1, max: 3 }),
  max_position_embeddings: fc.constant(64),
  rms_norm_eps: eps,
  tie_word_embeddings: fc.boolean(),
  rope_parameters: rope,
}
/** Heads that fit together, of a width that need not be D / Nq. */
const heads = {
  hidden_size: oneOf(16, 24),
  num_attention_heads: fc.constant(4),
  num_key_value_heads: oneOf(1, 2, 4),
}
const headDim = { head_dim: oneOf(4, 6, 10) }
const experts = {
  intermediate_size: oneOf(6, 12),
  num_experts_per_tok: oneOf(1, 2, 3),
  num_local_experts: oneOf(4, 6),
}
const window = oneOf(null, 3, 7)

const deepseekMoe = fc
  .record({
    moe_intermediate_size: oneOf(6, 10),
    intermediate_size: oneOf(12, 20),
    num_experts_per_tok: oneOf(1, 2, 3),
    n_routed_experts: oneOf(8, 12),
    n_shared_experts: oneOf(0, 1, 2),
    n_group: oneOf(1, 2, 4),
    routed_scaling_factor: oneOf(1, 2.5),
    norm_topk_prob: fc.boolean(),
    first_k_dense_replace: oneOf(0, 1),
  })
  .map((c) => ({
    ...c,
    topk_group: Math.max(1, c.n_group / 2),
    num_experts_per_tok: Math.min(2, c.num_experts_per_tok),
  }))

const latent = {
  ...common,
  hidden_size: oneOf(16, 24),
  num_attention_heads: oneOf(1, 2, 4),
  q_lora_rank: oneOf(null, 10),
  kv_lora_rank: oneOf(6, 14),
  qk_nope_head_dim: oneOf(4, 6),
  qk_rope_head_dim: oneOf(2, 4),
  v_head_dim: oneOf(3, 8),
  attention_bias: fc.boolean(),
}

const qwen = {
  ...common,
  ...heads,
  intermediate_size: oneOf(12, 20),
  moe_intermediate_size: oneOf(6, 10),
  num_experts: oneOf(4, 6),
  num_experts_per_tok: oneOf(1, 2, 3),
  norm_topk_prob: fc.boolean(),
  decoder_sparse_step: oneOf(1, 2),
  mlp_only_layers: oneOf([], [0]),
  use_sliding_window: fc.boolean(),
  sliding_window: oneOf(3, 7),
}

/** Settings of so many pairs of channels. */
function longrope(pairs: number) {
  return { rope_theta: 100, short_factor: [1, 1.5, 2].slice(0, pairs), short_mscale: 1.2 }
}

/** A record, and another beside it. */
function both(one: Record<string, fc.Arbitrary<unknown>>, other: fc.Arbitrary<object>): fc.Arbitrary<object> {
  return fc.tuple(fc.record(one), other).map(([a, b]) => ({ ...a, ...b }))
}

const BY_FAMILY: Record<string, fc.Arbitrary<object>> = {
  mixtral: fc.record({ ...common, ...heads, ...headDim, ...experts, sliding_window: window }),
  llama: fc.record({
    ...common,
    ...heads,
    ...headDim,
    intermediate_size: oneOf(12, 20),
    attention_bias: fc.boolean(),
    mlp_bias: fc.boolean(),
  }),
  glm4_moe: both(
    {
      ...common,
      ...heads,
      head_dim: oneOf(4, 8),
      attention_bias: fc.boolean(),
      use_qk_norm: fc.boolean(),
      partial_rotary_factor: oneOf(0.5, 1),
    },
    deepseekMoe,
  ),
  deepseek_v3: both({ ...latent, rope_interleave: fc.boolean() }, deepseekMoe),
  deepseek_v2: both(
    { ...latent, topk_method: oneOf('greedy', 'group_limited_greedy'), mlp_bias: fc.boolean() },
    deepseekMoe,
  ),
  qwen3_moe: fc.record({ ...qwen, ...headDim, attention_bias: fc.boolean() }),
  qwen2_moe: fc.record({
    ...qwen,
    qkv_bias: fc.boolean(),
    shared_expert_intermediate_size: oneOf(6, 14),
    max_window_layers: oneOf(0, 2, 28),
  }),
  olmoe: fc.record({
    ...common,
    ...heads,
    intermediate_size: oneOf(6, 12),
    num_experts: oneOf(4, 6),
    num_experts_per_tok: oneOf(1, 2, 3),
    norm_topk_prob: fc.boolean(),
    clip_qkv: oneOf(null, 0.5),
    attention_bias: fc.boolean(),
  }),
  gpt_oss: fc.record({
    ...common,
    ...heads,
    ...headDim,
    ...experts,
    attention_bias: fc.boolean(),
    sliding_window: oneOf(3, 7),
    swiglu_limit: oneOf(0.5, 7),
  }),
  granitemoe: fc.record({
    ...common,
    ...heads,
    ...experts,
    attention_bias: fc.boolean(),
    embedding_multiplier: oneOf(1, 3),
    residual_multiplier: oneOf(1, 0.5),
    attention_multiplier: oneOf(0.2, 1),
    logits_scaling: oneOf(1, 2),
  }),
  phimoe: fc
    .record({
      ...common,
      ...heads,
      ...experts,
      rope_parameters: oneOf('default', 'longrope'),
      attention_bias: fc.boolean(),
      lm_head_bias: fc.constant(false),
      router_jitter_noise: oneOf(0, 0.01, 0.3),
      sliding_window: window,
    })
    .map((c) => ({
      ...c,
      rope_parameters: { ...longrope(c.hidden_size / 8), rope_type: c.rope_parameters },
    })),
  llama4_text: fc.record({
    ...common,
    ...heads,
    ...headDim,
    ...experts,
    intermediate_size_mlp: oneOf(12, 20),
    attention_bias: fc.boolean(),
    interleave_moe_layer_step: oneOf(1, 2),
    no_rope_layer_interval: oneOf(2, 4),
    use_qk_norm: fc.boolean(),
    attention_chunk_size: oneOf(null, 3, 8),
    attn_temperature_tuning: fc.boolean(),
    floor_scale: oneOf(2, 8),
    attn_scale: oneOf(0.1, 0.5),
  }),
  dbrx: fc.record({
    vocab_size: fc.constant(40),
    d_model: oneOf(16, 24),
    n_heads: fc.constant(4),
    n_layers: fc.integer({ min: 1, max: 3 }),
    max_seq_len: fc.constant(64),
    tie_word_embeddings: fc.boolean(),
    attn_config: fc.record({
      kv_n_heads: oneOf(1, 2, 4),
      clip_qkv: oneOf(null, 0.5),
      rope_theta: fc.constant(100),
    }),
    ffn_config: fc.record({
      ffn_hidden_size: oneOf(6, 12),
      moe_num_experts: oneOf(4, 6),
      moe_top_k: oneOf(1, 2, 3),
      moe_normalize_expert_weights: oneOf(null, 1, 2),
    }),
  }),
}

/** Families that are an architecture of their own, not another's by another name. */
export const ARCHITECTURES = Object.keys(BY_FAMILY)

/** config.json of the family, small. */
export function smallConfig(modelType: string): fc.Arbitrary<Record<string, unknown>> {
  const own = BY_FAMILY[modelType]
  if (!own) throw new Error(`tests/families/arbitrary.ts has no small configs of ${modelType}`)
  return own.map((c) => ({ ...c, model_type: modelType }))
}
