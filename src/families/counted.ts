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
import { parseFields, positiveInt } from './fields.ts'
import { headsOf } from './layers.ts'
import { layerCount } from './schema.ts'

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

export const COUNTED: readonly CountedFamily[] = [
  counted('deepseek', 'no table of its tensors yet', deepseekFields, (c, grouped, i) => [
    grouped(),
    deepseekFeedForward(c, i),
  ]),
  counted(
    'grok-1',
    'norms after each half of a layer',
    experts,
    (c, grouped) => [grouped(), expertMixture(c)],
    { tied: true, norms: { perLayer: 4, bias: false } },
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
]
