import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import {
  type AttentionShape,
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
  attention_head_dim: positiveInt.nullish(),
  attention_bias: flag,
  tie_word_embeddings: flag,
}
type Fields<Shape extends z.ZodRawShape> = z.output<z.ZodObject<Shape>>
type Decoder = Fields<typeof decoder>

/** Grouped-query attention as the config's fields have it, with `more`. */
type Grouped = (more?: Partial<GroupedShape>) => GroupedShape

/** The two halves of the layer of this number. */
type LayerOf<C> = (c: C, grouped: Grouped, i: number) => [AttentionShape, FeedForwardShape]

/** `tied` is what a config without the field means. */
function counted<Shape extends z.ZodRawShape>(
  modelType: string,
  reason: string,
  shape: Shape,
  layerOf: LayerOf<Decoder & Fields<Shape>>,
  { tied = false, norms }: { tied?: boolean; norms?: ModelShape['norms'] } = {},
): CountedFamily {
  return {
    modelType,
    runnable: false,
    reason,
    parseConfig(json, file) {
      const schema = z.looseObject({ ...decoder, ...shape })
      const c = parseFields(schema, json, file) as unknown as Decoder & Fields<Shape>
      const grouped: Grouped = (more) => ({
        ...headsOf({ ...c, head_dim: c.head_dim ?? c.attention_head_dim }, file),
        bias: c.attention_bias ?? false,
        slidingWindow: null,
        ...more,
      })
      const layers = Array.from({ length: c.num_hidden_layers }, (_, i) => layerOf(c, grouped, i))
      return {
        vocabSize: c.vocab_size,
        hiddenSize: c.hidden_size,
        tieWordEmbeddings: c.tie_word_embeddings ?? tied,
        norms,
        layers: layers.map(([attention, feedForward]) => checked({ attention, feedForward }, file)),
      }
    },
  }
}

/** A family of the same fields under another name. */
function alias(modelType: string, family: CountedFamily): CountedFamily {
  return { ...family, modelType }
}

function checked<Layer extends LayerShape>(layer: Layer, file: string): Layer {
  const { attention, feedForward } = layer
  const routers = [
    attention.kind === 'mixture' && attention,
    feedForward.kind === 'moe' && feedForward.router,
  ]
  for (const router of routers) {
    if (!router || router.topK <= router.numExperts) continue
    throw new ConfigError(
      `${file}: ${router.topK} experts a token, expected at most the ${router.numExperts} there are`,
    )
  }
  return layer
}

function swiglu(intermediateSize: number): FeedForwardShape {
  return { kind: 'dense', intermediateSize, bias: false }
}

function mixture(router: RouterShape, intermediateSize: number, sharedWidth = 0): MoeShape {
  const sharedExpert = sharedWidth > 0 ? { intermediateSize: sharedWidth } : undefined
  return { kind: 'moe', intermediateSize, router, sharedExpert }
}

/** A router whose weights are its matrix. */
function topKOf(numExperts: number, topK: number): RouterShape {
  return { numExperts, topK }
}

/** Mixtral's layout with its field names. */
const localExperts = {
  intermediate_size: positiveInt,
  num_local_experts: positiveInt,
  num_experts_per_tok: positiveInt,
}

function localMixture(c: Fields<typeof localExperts>, sharedWidth = 0): MoeShape {
  return mixture(topKOf(c.num_local_experts, c.num_experts_per_tok), c.intermediate_size, sharedWidth)
}

/** The same with `num_experts`. */
const experts = {
  intermediate_size: positiveInt,
  num_experts: positiveInt,
  num_experts_per_tok: positiveInt,
}

function expertMixture(c: Fields<typeof experts>): MoeShape {
  return mixture(topKOf(c.num_experts, c.num_experts_per_tok), c.intermediate_size)
}

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
  const router = c.topk_method === 'noaux_tc' ? sigmoidTopK : topKOf
  const width = c.moe_intermediate_size
  return mixture(router(c.n_routed_experts, c.num_experts_per_tok), width, (c.n_shared_experts ?? 0) * width)
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
  (c, _, i) => [
    {
      kind: 'latent',
      numHeads: c.num_attention_heads,
      queryRank: c.q_lora_rank ?? null,
      keyValueRank: c.kv_lora_rank,
      nopeDim: c.qk_nope_head_dim,
      ropeDim: c.qk_rope_head_dim,
      valueDim: c.v_head_dim,
    },
    deepseekFeedForward(c, i),
  ],
)

const qwenFields = {
  ...experts,
  moe_intermediate_size: positiveInt,
  decoder_sparse_step: positiveInt.default(1),
  mlp_only_layers: z.array(count).nullish(),
}

function qwenFeedForward(
  c: Fields<typeof qwenFields>,
  i: number,
  sharedExpert?: MoeShape['sharedExpert'],
): FeedForwardShape {
  const dense = c.mlp_only_layers?.includes(i) || (i + 1) % c.decoder_sparse_step !== 0
  if (dense) return swiglu(c.intermediate_size)
  return { ...expertMixture({ ...c, intermediate_size: c.moe_intermediate_size }), sharedExpert }
}

const minimax = counted(
  'minimax',
  'linear attention',
  { ...localExperts, layer_types: z.array(z.string()).nullish(), attn_type_list: z.array(count).nullish() },
  (c, grouped, i) => {
    const linear = c.layer_types ? c.layer_types[i] === 'linear_attention' : c.attn_type_list?.[i] === 0
    const { numHeads, headDim } = grouped()
    return [linear ? { kind: 'linear', numHeads, headDim } : grouped(), localMixture(c)]
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
    use_qk_norm: flag,
    use_mixed_mlp_moe: flag,
    use_cla: z.literal(false).nullish(), // layers that share keys and values would be counted too high
  },
  (c, grouped, i) => {
    const width = at(c.moe_intermediate_size, i)
    const shared = c.use_mixed_mlp_moe ? at(c.num_shared_expert, i) * width : 0
    return [
      grouped({ qkNorm: c.use_qk_norm ? 'per-head' : undefined }),
      mixture(topKOf(c.num_experts, at(c.moe_topk, i)), width, shared),
    ]
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

/** The same block under other names; LayerNorm without bias. */
const dbrx: CountedFamily = {
  modelType: 'dbrx',
  runnable: false,
  reason: 'LayerNorm, clipped queries, keys and values',
  parseConfig(json, file) {
    const c = parseFields(dbrxFields, json, file)
    return dbrxBlock.parseConfig(
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
  },
}
const dbrxBlock = counted('dbrx', dbrx.reason, localExperts, (c, grouped) => [grouped(), localMixture(c)])

export const COUNTED: readonly CountedFamily[] = [
  counted('deepseek', 'no table of its tensors yet', deepseekFields, (c, grouped, i) => [
    grouped(),
    deepseekFeedForward(c, i),
  ]),
  alias('deepseek_v2', deepseekV3),
  deepseekV3,
  alias('kimi_k2', deepseekV3),
  counted('olmoe', 'norms across all heads', experts, (c, grouped) => [
    grouped({ qkNorm: 'across-heads' }),
    expertMixture(c),
  ]),
  counted(
    'qwen2_moe',
    'a gate on the shared expert',
    { ...qwenFields, shared_expert_intermediate_size: count, qkv_bias: flag },
    (c, grouped, i) => [
      grouped({ bias: c.qkv_bias ?? true, outputBias: false }),
      qwenFeedForward(c, i, { intermediateSize: c.shared_expert_intermediate_size, gate: true }),
    ],
  ),
  counted('qwen3_moe', 'no table of its tensors yet', qwenFields, (c, grouped, i) => [
    grouped({ qkNorm: 'per-head' }),
    qwenFeedForward(c, i),
  ]),
  /** Biases everywhere, a sink a head; of two layers the first has the window (arXiv 2508.10925). */
  counted(
    'gpt_oss',
    'attention sinks, experts with biases and another activation',
    { ...localExperts, sliding_window: positiveInt.nullish() },
    (c, grouped, i) => {
      const slidingWindow = i % 2 === 0 ? (c.sliding_window ?? null) : null
      const experts = localMixture(c)
      return [
        grouped({ bias: true, sinks: true, slidingWindow }),
        { ...experts, router: { ...experts.router, bias: true }, expertBias: true },
      ]
    },
  ),
  counted(
    'granitemoe',
    'multipliers of embedding, attention, residual and logits',
    localExperts,
    (c, grouped) => [grouped(), localMixture(c)],
    { tied: true },
  ),
  counted(
    'grok-1',
    'norms after each half of a layer',
    experts,
    (c, grouped) => [grouped(), expertMixture(c)],
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
    (c, grouped, i) => [
      grouped(),
      (i + 1) % c.interleave_moe_layer_step === 0
        ? localMixture(c, c.intermediate_size)
        : swiglu(c.intermediate_size_mlp),
    ],
  ),
  counted(
    'minimax_m2',
    'norms across all heads',
    { ...localExperts, use_qk_norm: flag, use_routing_bias: flag },
    (c, grouped) => {
      const router = c.use_routing_bias ? sigmoidTopK : topKOf
      return [
        grouped({ qkNorm: c.use_qk_norm ? 'across-heads' : undefined }),
        mixture(router(c.num_local_experts, c.num_experts_per_tok), c.intermediate_size),
      ]
    },
  ),
  minimax,
  alias('minimax_text_01', minimax),
  /** LayerNorm: a weight and a bias. */
  counted(
    'phimoe',
    "LayerNorm, and the sparsemixer's weights",
    localExperts,
    (c, grouped) => [grouped(), localMixture(c)],
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
    (c) => {
      const experts = localMixture(c)
      const { num_key_value_heads: headsPerExpert, kv_channels: headDim } = c
      const { numExperts, topK } = experts.router
      return [
        { kind: 'mixture', numExperts, topK, headsPerExpert, headDim },
        { ...experts, outputBias: true },
      ]
    },
    { tied: true },
  ),
  hunyuan,
  alias('hunyuan_v1_moe', hunyuan),
  dbrx,
]
