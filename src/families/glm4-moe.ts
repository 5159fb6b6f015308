import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { GroupedAttention } from '../model/config.ts'
import { deepseekFeedForwards, deepseekMoe, formatDeepseekMoe, normTopK, sigmoidRouter } from './deepseek.ts'
import { decoderFamily } from './family.ts'
import { type FieldsOf, type FieldTable, used } from './fields.ts'
import { DECODER_NAMES, isStaleOrBeyond, QK_NORM_NAMES, SHARED_EXPERT_NAMES } from './names.ts'
import { ropeOf, ropeSettings, share } from './rope.ts'
import {
  allVisible,
  attentionBias,
  decoderFields,
  decoderOf,
  formatDecoder,
  groupedIn,
  heads,
  headsOf,
  sizes,
  tokenIds,
} from './schema.ts'

/** Defaults are the class defaults of the published Glm4MoeConfig. */
const fields = {
  ...decoderFields,
  ...tokenIds(null, null),
  ...allVisible,
  ...sizes({ vocab: 151552, hidden: 4096, layers: 46, positions: 131072, eps: 1e-5 }),
  ...heads(96, 8),
  ...attentionBias(false, 'queries, keys and values have biases'),
  ...deepseekMoe({
    widths: [10944, 1408],
    experts: 128,
    topK: 8,
    shared: 1,
    groups: [1, 1],
    firstDense: 1,
    scaling: 1,
  }),
  ...normTopK,
  partial_rotary_factor: used(
    share.nullable().default(0.5),
    'share of a head that rotates, an even number of channels; null is all',
  ),
  use_qk_norm: used(z.boolean().default(false), 'queries and keys are normed, each head alike'),
} satisfies FieldTable

/** GLM-4.5 (Zhipu AI 2025): DeepSeek-V3's routing on plain grouped-query attention. */
export const glm4Moe = decoderFamily({
  modelType: 'glm4_moe',
  fields,
  decoder(c, file) {
    const own = headsOf(c, file)
    const attention: GroupedAttention = {
      ...own,
      bias: c.attention_bias,
      outputBias: false,
      qkNorm: c.use_qk_norm ? 'per-head' : undefined,
      slidingWindow: null,
      rope: { ...ropeOf(c, 1e4, file), rotaryDim: rotaryDimOf(c, own.headDim, file) },
    }
    const feedForward = deepseekFeedForwards(c, sigmoidRouter(c, file))
    return decoderOf(c, (i) => ({ attention, feedForward: feedForward(i) }))
  },
  formatConfig(config) {
    const { rope, headDim, bias, qkNorm } = groupedIn(config)
    const { rope_parameters, ...decoder } = formatDecoder(config)
    const { intermediate_size, moe_intermediate_size, ...routed } = formatDeepseekMoe(config)
    return {
      architectures: ['Glm4MoeForCausalLM'],
      model_type: 'glm4_moe',
      ...decoder,
      rope_parameters: {
        ...(rope_parameters as object),
        partial_rotary_factor: (rope.rotaryDim ?? headDim) / headDim,
      },
      intermediate_size,
      moe_intermediate_size,
      attention_bias: bias,
      use_qk_norm: qkNorm !== undefined,
      ...routed,
    }
  },
  names: [...QK_NORM_NAMES, ...SHARED_EXPERT_NAMES, ...DECODER_NAMES],
  ignored: isStaleOrBeyond,
})

/** Channels that rotate, as transformers cuts them: a whole number, of which each two are a pair. */
function rotaryDimOf(c: FieldsOf<typeof fields>, headDim: number, file: string): number {
  const rotaryShare = ropeSettings(c).partial_rotary_factor ?? c.partial_rotary_factor ?? 1
  const dim = Math.floor(headDim * rotaryShare)
  if (dim > 0 && dim % 2 === 0) return dim
  throw new ConfigError(
    `${file}: "partial_rotary_factor" is ${rotaryShare}, expected a share of head_dim=${headDim} that is an even number`,
  )
}
