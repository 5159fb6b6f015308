import type { GroupedAttention, MoeConfig } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, amount, type FieldTable, size, used, withoutEffect } from './fields.ts'
import { decoderOf, groupedOf, localMixture, seesSome } from './layers.ts'
import { ATTENTION_NAMES, type Layout } from './names.ts'
import { ropeObject } from './rope.ts'
import { attentionBias, groupedFields, layerTypes, localExperts, sizes } from './schema.ts'

const YARN = { rope_type: 'yarn', factor: 32, truncate: false, original_max_position_embeddings: 4096 }

/** Defaults are the class defaults of the published GptOssConfig. */
const fields = {
  ...groupedFields({ tokens: [null, null], heads: [64, 8] }),
  ...sizes({ vocab: 201088, hidden: 2880, layers: 36, positions: 131072, eps: 1e-5 }),
  ...attentionBias(true),
  ...layerTypes('sliding_attention'),
  ...localExperts({ width: 2880, experts: 128, topK: 4 }),
  num_experts: aliasOf('num_local_experts'),
  head_dim: size(64, 'width of a head, even'),
  rope_parameters: used(
    ropeObject.nullish().transform((given) => given ?? YARN),
    'rotary settings; absent or null is yarn, 32 times',
  ),
  experts_per_token: withoutEffect('num_experts_per_tok counts'),
  sliding_window: size(128, 'keys that a token of a windowed layer sees'),
  swiglu_limit: amount(7, 'gate at most, and up within plus and minus this'),
  swiglu_alpha: amount(1.702, 'steepness of the gate'),
  initial_context_length: withoutEffect('the rotary settings count'),
} satisfies FieldTable

/** An expert's matrices are turned, and the rows of gate and up take turns. */
const inTurns: Layout = { groups: ({ layers }) => layers[0].feedForward.intermediateSize }
const EXPERTS = 'model.layers.{layer}.mlp.experts'
const OURS = 'blocks.{layer}.moe.experts.{expert}'

/** gpt-oss (OpenAI 2025, arXiv 2508.10925): biases everywhere, attention sinks, a window in every other layer. */
export const gptOss = decoderFamily({
  modelType: 'gpt_oss',
  fields,
  decoder(c, file) {
    const full: GroupedAttention = { ...groupedOf(c, 150000, file), sinks: true }
    const windowed = { ...full, slidingWindow: c.sliding_window }
    const router = { scoring: 'none', weighting: 'softmax-of-chosen', bias: true } as const
    const feedForward: MoeConfig = {
      ...localMixture(c, router, file),
      expertBias: true,
      clamp: { limit: c.swiglu_limit, alpha: c.swiglu_alpha },
    }
    const isWindowed = seesSome(c, c.sliding_window, 'sliding_window', file, (i) => i % 2 === 0)
    return decoderOf(c, (i) => ({ attention: isWindowed(i) ? windowed : full, feedForward }))
  },
  names: [
    ['model.layers.{layer}.mlp.router.weight', 'blocks.{layer}.moe.router'],
    ['model.layers.{layer}.mlp.router.bias', 'blocks.{layer}.moe.router.bias'],
    ['model.layers.{layer}.self_attn.sinks', 'blocks.{layer}.attention.sinks'],
    [`${EXPERTS}.gate_up_proj`, `${OURS}.gate+up`, { ...inTurns, transposed: true }],
    [`${EXPERTS}.gate_up_proj_bias`, `${OURS}.gate.bias+up.bias`, inTurns],
    [`${EXPERTS}.down_proj`, `${OURS}.down`, { transposed: true }],
    [`${EXPERTS}.down_proj_bias`, `${OURS}.down.bias`],
    ...ATTENTION_NAMES,
  ],
})
