import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import {
  type FeedForwardShape,
  type GroupedShape,
  type LayerShape,
  type ModelShape,
  type MoeShape,
  type RouterShape,
  sigmoidTopK,
} from '../model/config.ts'
import type { CountedFamily } from './family.ts'
import { parseFields } from './fields.ts'
import { headsOf, layerCount, positiveInt } from './schema.ts'

/*
 * Families that are counted only: their fields, and what each layer is made of. One that learns to run gets a file of its
 * own, and leaves this one.
 */

const count = z.int().nonnegative()
const flag = z.boolean().nullish()

/** What most families call alike. */
const decoder = {
  vocab_size: positiveInt,
  hidden_size: positiveInt,
  num_hidden_layers: layerCount,
  num_attention_heads: positiveInt,
  num_key_value_heads: positiveInt.nullish(),
  head_dim: positiveInt.nullish(),
  attention_bias: flag,
  tie_word_embeddings: flag,
}
type Fields<Shape extends z.ZodRawShape> = z.output<z.ZodObject<Shape>>
type Decoder = Fields<typeof decoder>

/** `tied` is what a config without the field means. */
interface Rest {
  tied?: boolean
  norms?: ModelShape['norms']
}

function counted<Shape extends z.ZodRawShape>(
  modelType: string,
  reason: string,
  shape: Shape,
  layer: (c: Decoder & Fields<Shape>, i: number, file: string) => LayerShape,
  { tied = false, norms }: Rest = {},
): CountedFamily {
  return {
    modelType,
    runnable: false,
    reason,
    parseConfig(json, file) {
      const schema = z.looseObject({ ...decoder, ...shape })
      const c = parseFields(schema, json, file) as unknown as Decoder & Fields<Shape>
      return {
        vocabSize: c.vocab_size,
        hiddenSize: c.hidden_size,
        tieWordEmbeddings: c.tie_word_embeddings ?? tied,
        norms,
        layers: Array.from({ length: c.num_hidden_layers }, (_, i) => checked(layer(c, i, file), file)),
      }
    },
  }
}

/** A family of the same fields under another name. */
function alias(modelType: string, family: CountedFamily): CountedFamily {
  return { ...family, modelType }
}

function checked({ attention, feedForward }: LayerShape, file: string): LayerShape {
  const routers = [
    ...(attention.kind === 'mixture' ? [attention] : []),
    ...(feedForward.kind === 'moe' ? [feedForward.router] : []),
  ]
  const wrong = routers.find(({ topK, numExperts }) => topK > numExperts)
  if (!wrong) return { attention, feedForward }
  throw new ConfigError(
    `${file}: ${wrong.topK} experts a token, expected at most the ${wrong.numExperts} there are`,
  )
}

function grouped(c: Decoder, file: string, more: Partial<GroupedShape> = {}): GroupedShape {
  return { ...headsOf(c, file), bias: c.attention_bias ?? false, slidingWindow: null, ...more }
}

function swiglu(intermediateSize: number): FeedForwardShape {
  return { kind: 'dense', intermediateSize, bias: false }
}

function mixture(
  numExperts: number,
  topK: number,
  intermediateSize: number,
  { sharedWidth = 0, ...more }: Partial<MoeShape> & { sharedWidth?: number } = {},
): MoeShape {
  const sharedExpert = sharedWidth > 0 ? { intermediateSize: sharedWidth } : undefined
  return { kind: 'moe', intermediateSize, router: plainTopK(numExperts, topK), sharedExpert, ...more }
}

/** A router whose weights are its matrix. */
function plainTopK(numExperts: number, topK: number): RouterShape {
  return { numExperts, topK }
}

/** Mixtral's layout with its field names. */
const localExperts = {
  intermediate_size: positiveInt,
  num_local_experts: positiveInt,
  num_experts_per_tok: positiveInt,
}

function localMixture(
  c: Fields<typeof localExperts>,
  more: Partial<MoeShape> & { sharedWidth?: number } = {},
): MoeShape {
  return mixture(c.num_local_experts, c.num_experts_per_tok, c.intermediate_size, more)
}

const experts = { num_experts: positiveInt, num_experts_per_tok: positiveInt }

/** One value, or one a layer. */
const perLayer = z.union([count, z.array(count)])

function at(value: z.output<typeof perLayer>, i: number): number {
  return Array.isArray(value) ? value[Math.min(i, value.length - 1)] : value
}

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
/** DeepSeekMoE (arXiv 2401.06066): dense first layers, then shared and routed experts of one width. */
function deepseekFeedForward(c: Fields<typeof deepseekFields>, i: number): FeedForwardShape {
  if (i < c.first_k_dense_replace || i % c.moe_layer_freq !== 0) return swiglu(c.intermediate_size)
  const { n_routed_experts: numExperts, num_experts_per_tok: topK, moe_intermediate_size: H } = c
  const router = (c.topk_method === 'noaux_tc' ? sigmoidTopK : plainTopK)(numExperts, topK)
  return mixture(numExperts, topK, H, { router, sharedWidth: (c.n_shared_experts ?? 0) * H })
}

const deepseekV3 = counted(
  'deepseek_v3',
  'latent attention',
  {
    ...deepseekFields,
    q_lora_rank: positiveInt.nullish(),
    kv_lora_rank: positiveInt,
    qk_nope_head_dim: positiveInt,
    qk_rope_head_dim: positiveInt,
    v_head_dim: positiveInt,
  },
  (c, i) => ({
    attention: {
      kind: 'latent',
      numHeads: c.num_attention_heads,
      queryRank: c.q_lora_rank ?? null,
      keyValueRank: c.kv_lora_rank,
      nopeDim: c.qk_nope_head_dim,
      ropeDim: c.qk_rope_head_dim,
      valueDim: c.v_head_dim,
    },
    feedForward: deepseekFeedForward(c, i),
  }),
)

const qwenFields = {
  ...experts,
  intermediate_size: positiveInt,
  moe_intermediate_size: positiveInt,
  decoder_sparse_step: positiveInt.default(1),
  mlp_only_layers: z.array(count).nullish(),
}

function qwenFeedForward(
  c: Fields<typeof qwenFields>,
  i: number,
  more: Partial<MoeShape> = {},
): FeedForwardShape {
  if (c.mlp_only_layers?.includes(i) || (i + 1) % c.decoder_sparse_step !== 0) {
    return swiglu(c.intermediate_size)
  }
  return mixture(c.num_experts, c.num_experts_per_tok, c.moe_intermediate_size, more)
}

const minimax = counted(
  'minimax',
  'linear attention',
  { ...localExperts, layer_types: z.array(z.string()).nullish(), attn_type_list: z.array(count).nullish() },
  (c, i, file) => {
    const linear = c.layer_types ? c.layer_types[i] === 'linear_attention' : c.attn_type_list?.[i] === 0
    const attention = grouped(c, file)
    const { numHeads, headDim } = attention
    return {
      attention: linear ? { kind: 'linear', numHeads, headDim } : attention,
      feedForward: localMixture(c),
    }
  },
)

const hunyuan = counted(
  'hunyuan',
  'norms of queries and keys after rotating',
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
  (c, i, file) => {
    const heads = { ...c, head_dim: c.head_dim ?? c.attention_head_dim }
    const width = at(c.moe_intermediate_size, i)
    return {
      attention: grouped(heads, file, { qkNorm: c.use_qk_norm ? 'per-head' : undefined }),
      feedForward: mixture(c.num_experts, at(c.moe_topk, i), width, {
        sharedWidth: c.use_mixed_mlp_moe ? at(c.num_shared_expert, i) * width : 0,
      }),
    }
  },
)

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

/** Other names for the same block; LayerNorm without bias. */
const dbrx: CountedFamily = {
  modelType: 'dbrx',
  runnable: false,
  reason: 'LayerNorm, clipped queries, keys and values',
  parseConfig(json, file) {
    const c = parseFields(dbrxFields, json, file)
    const { moe_num_experts: E, moe_top_k: K, ffn_hidden_size: H } = c.ffn_config
    const heads = { hidden_size: c.d_model, num_attention_heads: c.n_heads, head_dim: null }
    const shared = headsOf({ ...heads, num_key_value_heads: c.attn_config.kv_n_heads }, file)
    const attention: GroupedShape = { ...shared, bias: false, slidingWindow: null }
    return {
      vocabSize: c.vocab_size,
      hiddenSize: c.d_model,
      tieWordEmbeddings: c.tie_word_embeddings ?? false,
      layers: new Array(c.n_layers).fill(checked({ attention, feedForward: mixture(E, K, H) }, file)),
    }
  },
}

export const COUNTED: readonly CountedFamily[] = [
  counted('deepseek', 'no table of its tensors yet', deepseekFields, (c, i, file) => ({
    attention: grouped(c, file),
    feedForward: deepseekFeedForward(c, i),
  })),
  alias('deepseek_v2', deepseekV3),
  deepseekV3,
  alias('kimi_k2', deepseekV3),
  counted(
    'olmoe',
    'norms across all heads',
    { ...experts, intermediate_size: positiveInt },
    (c, _, file) => ({
      attention: grouped(c, file, { qkNorm: 'across-heads' }),
      feedForward: mixture(c.num_experts, c.num_experts_per_tok, c.intermediate_size),
    }),
  ),
  counted(
    'qwen2_moe',
    'a gate on the shared expert',
    { ...qwenFields, shared_expert_intermediate_size: count, qkv_bias: flag },
    (c, i, file) => ({
      attention: grouped(c, file, { bias: c.qkv_bias ?? true, outputBias: false }),
      feedForward: qwenFeedForward(c, i, {
        sharedExpert: { intermediateSize: c.shared_expert_intermediate_size, gate: true },
      }),
    }),
  ),
  counted('qwen3_moe', 'no table of its tensors yet', qwenFields, (c, i, file) => ({
    attention: grouped(c, file, { qkNorm: 'per-head' }),
    feedForward: qwenFeedForward(c, i),
  })),
  /** Biases everywhere, a sink a head; of two layers the first has the window (arXiv 2508.10925). */
  counted(
    'gpt_oss',
    'attention sinks, experts with biases and another activation',
    { ...localExperts, sliding_window: positiveInt.nullish() },
    (c, i, file) => ({
      attention: grouped(c, file, {
        bias: true,
        sinks: true,
        slidingWindow: i % 2 === 0 ? (c.sliding_window ?? null) : null,
      }),
      feedForward: localMixture(c, {
        router: { ...plainTopK(c.num_local_experts, c.num_experts_per_tok), bias: true },
        expertBias: true,
      }),
    }),
  ),
  counted(
    'granitemoe',
    'multipliers of embedding, attention, residual and logits',
    localExperts,
    (c, _, file) => ({ attention: grouped(c, file), feedForward: localMixture(c) }),
    { tied: true },
  ),
  counted(
    'grok-1',
    'norms after each half of a layer',
    { ...experts, intermediate_size: positiveInt },
    (c, _, file) => ({
      attention: grouped(c, file),
      feedForward: mixture(c.num_experts, c.num_experts_per_tok, c.intermediate_size),
    }),
    { tied: true, norms: { perLayer: 4, bias: false } },
  ),
  /** Every `interleave_moe_layer_step`-th layer is a mixture beside a shared expert of the same width. */
  counted(
    'llama4_text',
    'scores on the input of experts, chunked attention',
    {
      ...localExperts,
      intermediate_size_mlp: positiveInt,
      interleave_moe_layer_step: positiveInt.default(1),
    },
    (c, i, file) => ({
      attention: grouped(c, file),
      feedForward:
        (i + 1) % c.interleave_moe_layer_step === 0
          ? localMixture(c, { sharedWidth: c.intermediate_size })
          : swiglu(c.intermediate_size_mlp),
    }),
  ),
  counted(
    'minimax_m2',
    'norms across all heads',
    { ...localExperts, use_qk_norm: flag, use_routing_bias: flag },
    (c, _, file) => ({
      attention: grouped(c, file, { qkNorm: c.use_qk_norm ? 'across-heads' : undefined }),
      feedForward: localMixture(c, {
        router: (c.use_routing_bias ? sigmoidTopK : plainTopK)(c.num_local_experts, c.num_experts_per_tok),
      }),
    }),
  ),
  minimax,
  alias('minimax_text_01', minimax),
  /** LayerNorm: a weight and a bias. */
  counted(
    'phimoe',
    "LayerNorm, and the sparsemixer's weights",
    localExperts,
    (c, _, file) => ({ attention: grouped(c, file), feedForward: localMixture(c) }),
    { norms: { perLayer: 2, bias: true } },
  ),
  counted(
    'jetmoe',
    'mixtures of attention heads',
    {
      ...localExperts,
      num_attention_heads: positiveInt.default(1),
      num_key_value_heads: positiveInt,
      kv_channels: positiveInt,
    },
    (c) => ({
      attention: {
        kind: 'mixture',
        numExperts: c.num_local_experts,
        topK: c.num_experts_per_tok,
        headsPerExpert: c.num_key_value_heads,
        headDim: c.kv_channels,
      },
      feedForward: localMixture(c, { outputBias: true }),
    }),
    { tied: true },
  ),
  hunyuan,
  alias('hunyuan_v1_moe', hunyuan),
  dbrx,
]
