import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { FAMILIES } from '../families/index.ts'
import { layerCount, parseFields, positiveInt } from '../families/schema.ts'
import { shown } from '../text/foreign.ts'
import {
  type ArchitectureSpec,
  architectureOf,
  type DenseSpec,
  type LatentAttention,
  type MixtureSpec,
  plainMixture,
} from './architecture.ts'
import {
  at,
  count,
  type Decoder,
  family,
  flag,
  grouped,
  headNorms,
  layerOf,
  localExperts,
  localMixture,
  perLayer,
  projectionBiases,
  type Reader,
  swiglu,
  wideNorms,
} from './config-parts.ts'

/*
 * A published config.json as an ArchitectureSpec: one entry a `model_type`. What the engine runs goes through the engine's
 * own reading; the others are counted only. Left out everywhere: modules for multi-token prediction, vision, audio.
 */

const deepseekFields = {
  intermediate_size: positiveInt,
  moe_intermediate_size: positiveInt,
  n_routed_experts: positiveInt,
  num_experts_per_tok: positiveInt,
  n_shared_experts: count.nullish(),
  first_k_dense_replace: count.default(0),
  moe_layer_freq: positiveInt.default(1),
  topk_method: z.string().nullish(),
}
const latentFields = {
  q_lora_rank: positiveInt.nullish(),
  kv_lora_rank: positiveInt,
  qk_nope_head_dim: positiveInt,
  qk_rope_head_dim: positiveInt,
  v_head_dim: positiveInt,
}

type Deepseek = Decoder & z.output<z.ZodObject<typeof deepseekFields>>

/** DeepSeekMoE (arXiv 2401.06066): dense first layers, then shared and routed experts of one width. */
function deepseekFeedForward(c: Deepseek, i: number): DenseSpec | MixtureSpec {
  if (i < c.first_k_dense_replace || i % c.moe_layer_freq !== 0) return swiglu(c.intermediate_size)
  return {
    ...plainMixture(c.n_routed_experts, c.num_experts_per_tok, c.moe_intermediate_size),
    sharedWidth: (c.n_shared_experts ?? 0) * c.moe_intermediate_size,
    routerBiases: c.topk_method === 'noaux_tc' ? c.n_routed_experts : 0, // the choosing bias of DeepSeek-V3
  }
}

function latent(c: Decoder & z.output<z.ZodObject<typeof latentFields>>): LatentAttention {
  return {
    kind: 'latent',
    numHeads: c.num_attention_heads,
    queryRank: c.q_lora_rank ?? null,
    keyValueRank: c.kv_lora_rank,
    nopeDim: c.qk_nope_head_dim,
    ropeDim: c.qk_rope_head_dim,
    valueDim: c.v_head_dim,
  }
}

const deepseekLatent = family({ ...deepseekFields, ...latentFields }, (c, i) =>
  layerOf(c, latent(c), deepseekFeedForward(c, i)),
)

const qwenFields = {
  intermediate_size: positiveInt,
  moe_intermediate_size: positiveInt,
  num_experts: positiveInt,
  num_experts_per_tok: positiveInt,
  decoder_sparse_step: positiveInt.default(1),
  mlp_only_layers: z.array(count).nullish(),
}

function qwenFeedForward(
  c: Decoder & z.output<z.ZodObject<typeof qwenFields>>,
  i: number,
  shared: Partial<MixtureSpec> = {},
): DenseSpec | MixtureSpec {
  if (c.mlp_only_layers?.includes(i) || (i + 1) % c.decoder_sparse_step !== 0)
    return swiglu(c.intermediate_size)
  return { ...plainMixture(c.num_experts, c.num_experts_per_tok, c.moe_intermediate_size), ...shared }
}

const minimax = family(
  { ...localExperts, layer_types: z.array(z.string()).nullish(), attn_type_list: z.array(count).nullish() },
  (c, i) => {
    const linear = c.layer_types ? c.layer_types[i] === 'linear_attention' : c.attn_type_list?.[i] === 0
    const { numHeads, headDim } = grouped(c)
    return layerOf(c, linear ? { kind: 'linear', numHeads, headDim } : grouped(c), localMixture(c))
  },
)

const hunyuan = family(
  {
    num_experts: positiveInt,
    moe_topk: perLayer,
    moe_intermediate_size: perLayer,
    num_shared_expert: perLayer.default(0),
    attention_head_dim: positiveInt.nullish(),
    use_qk_norm: flag,
    use_mixed_mlp_moe: flag,
    use_cla: z.literal(false).nullish(), // layers that share keys and values would be counted too high
  },
  (c, i) => {
    const shape = { ...c, head_dim: c.head_dim ?? c.attention_head_dim }
    const width = at(c.moe_intermediate_size, i)
    const shared = c.use_mixed_mlp_moe ? at(c.num_shared_expert, i) * width : 0
    return layerOf(c, grouped(shape, { norms: c.use_qk_norm ? headNorms(shape) : 0 }), {
      ...plainMixture(c.num_experts, at(c.moe_topk, i), width),
      sharedWidth: shared,
    })
  },
)

const COUNTED: Record<string, Reader> = {
  deepseek: family(deepseekFields, (c, i) => layerOf(c, grouped(c), deepseekFeedForward(c, i))),
  deepseek_v2: deepseekLatent,
  deepseek_v3: deepseekLatent,
  kimi_k2: deepseekLatent,
  olmoe: family(
    { intermediate_size: positiveInt, num_experts: positiveInt, num_experts_per_tok: positiveInt },
    (c) =>
      layerOf(
        c,
        grouped(c, { norms: wideNorms(c) }),
        plainMixture(c.num_experts, c.num_experts_per_tok, c.intermediate_size),
      ),
  ),
  qwen2_moe: family({ ...qwenFields, shared_expert_intermediate_size: count, qkv_bias: flag }, (c, i) =>
    layerOf(
      c,
      grouped(c, { biases: (c.qkv_bias ?? true) ? projectionBiases(c, false) : 0 }),
      qwenFeedForward(c, i, { sharedWidth: c.shared_expert_intermediate_size, sharedGate: true }),
    ),
  ),
  qwen3_moe: family(qwenFields, (c, i) =>
    layerOf(
      c,
      grouped(c, { norms: headNorms(c), biases: c.attention_bias ? projectionBiases(c, true) : 0 }),
      qwenFeedForward(c, i),
    ),
  ),
  /** Biases everywhere, a sink a head; of two layers the first has the window (arXiv 2508.10925). */
  gpt_oss: family({ ...localExperts, sliding_window: positiveInt.nullish() }, (c, i) =>
    layerOf(
      c,
      grouped(c, {
        biases: projectionBiases(c, true) + c.num_attention_heads,
        window: i % 2 === 0 ? (c.sliding_window ?? null) : null,
      }),
      {
        ...localMixture(c),
        expertBiases: 2 * c.intermediate_size + c.hidden_size,
        routerBiases: c.num_local_experts,
      },
    ),
  ),
  granitemoe: family(localExperts, (c) => layerOf(c, grouped(c), localMixture(c)), { tied: true }),
  'grok-1': family(
    { intermediate_size: positiveInt, num_experts: positiveInt, num_experts_per_tok: positiveInt },
    (c) => layerOf(c, grouped(c), plainMixture(c.num_experts, c.num_experts_per_tok, c.intermediate_size), 4),
    { tied: true },
  ),
  /** Every `interleave_moe_layer_step`-th layer is a mixture beside a shared expert of the same width. */
  llama4_text: family(
    {
      ...localExperts,
      intermediate_size_mlp: positiveInt,
      interleave_moe_layer_step: positiveInt.default(1),
    },
    (c, i) =>
      layerOf(
        c,
        grouped(c),
        (i + 1) % c.interleave_moe_layer_step === 0
          ? { ...localMixture(c), sharedWidth: c.intermediate_size }
          : swiglu(c.intermediate_size_mlp),
      ),
  ),
  minimax_m2: family({ ...localExperts, use_qk_norm: flag, use_routing_bias: flag }, (c) =>
    layerOf(c, grouped(c, { norms: c.use_qk_norm ? wideNorms(c) : 0 }), {
      ...localMixture(c),
      routerBiases: c.use_routing_bias ? c.num_local_experts : 0,
    }),
  ),
  minimax,
  minimax_text_01: minimax,
  /** LayerNorm: a weight and a bias. */
  phimoe: family(
    localExperts,
    (c) =>
      layerOf(
        c,
        grouped(c, { biases: c.attention_bias ? projectionBiases(c, true) : 0 }),
        localMixture(c),
        4,
      ),
    { finalNorm: 2 },
  ),
  jetmoe: family(
    {
      ...localExperts,
      num_attention_heads: positiveInt.default(1),
      num_key_value_heads: positiveInt,
      kv_channels: positiveInt,
    },
    (c) => {
      const { num_local_experts: numExperts, num_experts_per_tok: topK } = c
      const { num_key_value_heads: numKeyValueHeads, kv_channels: headDim } = c
      return layerOf(
        c,
        { kind: 'mixture', numExperts, topK, numKeyValueHeads, headDim },
        { ...localMixture(c), outputBiases: c.hidden_size },
      )
    },
    { tied: true },
  ),
  hunyuan,
  hunyuan_v1_moe: hunyuan,
  dbrx: (json, file) => dbrx(json, file),
}

const dbrxFields = z.looseObject({
  vocab_size: positiveInt,
  d_model: positiveInt,
  n_layers: layerCount,
  n_heads: positiveInt,
  attn_config: z.looseObject({ kv_n_heads: positiveInt }),
  ffn_config: z.looseObject({
    ffn_hidden_size: positiveInt,
    moe_num_experts: positiveInt,
    moe_top_k: positiveInt,
  }),
  tie_word_embeddings: flag,
})

/** The same block under other names; LayerNorm without bias. */
const dbrxBlock = family(localExperts, (c) => layerOf(c, grouped(c), localMixture(c)))

function dbrx(json: unknown, file: string): ArchitectureSpec {
  const c = parseFields(dbrxFields, json, file)
  return dbrxBlock(
    {
      vocab_size: c.vocab_size,
      hidden_size: c.d_model,
      num_hidden_layers: c.n_layers,
      num_attention_heads: c.n_heads,
      num_key_value_heads: c.attn_config.kv_n_heads,
      intermediate_size: c.ffn_config.ffn_hidden_size,
      num_local_experts: c.ffn_config.moe_num_experts,
      num_experts_per_tok: c.ffn_config.moe_top_k,
      tie_word_embeddings: c.tie_word_embeddings,
    },
    file,
  )
}

/** Every `model_type` that can be counted. */
export const COUNTED_TYPES: readonly string[] = [
  ...new Set([...FAMILIES.map(({ modelType }) => modelType), ...Object.keys(COUNTED)]),
].sort()

/** The part of a config that describes the decoder: a multimodal one has it in `text_config`. */
function decoderOf(json: unknown): { model_type?: unknown } | null {
  const outer = json as { model_type?: unknown; text_config?: { model_type?: unknown } } | null
  return outer?.text_config?.model_type ? outer.text_config : outer
}

/** Whether the engine can run what this config describes. */
export function isEngineType(json: unknown): boolean {
  return FAMILIES.some(({ modelType }) => modelType === decoderOf(json)?.model_type)
}

/**
 * Counts what a config.json describes.
 * @throws ConfigError naming `file` and the field
 */
export function architectureFromJson(json: unknown, file: string): ArchitectureSpec {
  const inner = decoderOf(json)
  const modelType = inner?.model_type
  const engine = FAMILIES.find((f) => f.modelType === modelType)
  if (engine) return architectureOf(engine.parseConfig(inner, file))
  if (typeof modelType === 'string' && Object.hasOwn(COUNTED, modelType)) {
    return COUNTED[modelType](inner, file)
  }
  const found = modelType === undefined ? 'is missing' : `is ${shown(modelType)}`
  throw new ConfigError(`${file}: "model_type" ${found}, expected one of ${COUNTED_TYPES.join(', ')}`)
}
