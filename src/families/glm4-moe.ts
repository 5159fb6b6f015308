import type { GroupedAttention } from '../model/config.ts'
import { deepseekFeedForwards, deepseekMoe, formatDeepseekMoe, normTopK, sigmoidRouter } from './deepseek.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, flag, used } from './fields.ts'
import { formatDecoder, groupedIn } from './format.ts'
import { decoderOf, headsOf } from './layers.ts'
import { DECODER_NAMES, isStaleOrBeyond, QK_NORM_NAMES, SHARED_EXPERT_NAMES } from './names.ts'
import { partialRopeOf, share } from './rope.ts'
import { allVisible, attentionBias, groupedFields, sizes } from './schema.ts'

/** Defaults are the class defaults of the published Glm4MoeConfig. */
const fields = {
  ...groupedFields({ tokens: [null, null], heads: [96, 8] }),
  ...allVisible,
  ...sizes({ vocab: 151552, hidden: 4096, layers: 46, positions: 131072, eps: 1e-5 }),
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
  num_local_experts: aliasOf('n_routed_experts'),
  ...normTopK,
  partial_rotary_factor: used(
    share.nullable().default(0.5),
    'share of a head that rotates, an even number of channels; null is all',
  ),
  use_qk_norm: flag(false, 'queries and keys are normed, each head alike'),
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
      rope: partialRopeOf(c, 1e4, own.headDim, file),
    }
    const feedForward = deepseekFeedForwards(c, sigmoidRouter(c, file))
    return decoderOf(c, (i) => ({ attention, feedForward: feedForward(i) }))
  },
  formatConfig(config) {
    const { bias, qkNorm } = groupedIn(config)
    return {
      architectures: ['Glm4MoeForCausalLM'],
      model_type: 'glm4_moe',
      ...formatDecoder(config),
      attention_bias: bias,
      use_qk_norm: qkNorm !== undefined,
      ...formatDeepseekMoe(config),
    }
  },
  names: [...QK_NORM_NAMES, ...SHARED_EXPERT_NAMES, ...DECODER_NAMES],
  ignored: isStaleOrBeyond,
})
