import type { GroupedAttention } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, withoutEffect } from './fields.ts'
import { decoderOf, groupedOf } from './layers.ts'
import { DECODER_NAMES, QK_NORM_NAMES } from './names.ts'
import { qwenFeedForwards, qwenMoe, windowOf } from './qwen.ts'
import { attentionBias, groupedFields, sizes } from './schema.ts'

/** Defaults are the class defaults of the published Qwen3MoeConfig. */
const fields = {
  ...groupedFields({ tokens: [null, null], heads: [32, 4] }),
  ...sizes({ vocab: 151936, hidden: 2048, layers: 24, positions: 32768, eps: 1e-6 }),
  ...attentionBias(false),
  ...qwenMoe({ widths: [6144, 768], experts: 128, topK: 8 }),
  num_local_experts: aliasOf('num_experts'),
  max_window_layers: withoutEffect('the published class has the window in every layer'),
} satisfies FieldTable

/** Qwen3's mixtures (arXiv 2505.09388): queries and keys normed head by head. */
export const qwen3Moe = decoderFamily({
  modelType: 'qwen3_moe',
  fields,
  decoder(c, file) {
    const attention: GroupedAttention = {
      ...groupedOf(c, 1e4, file),
      qkNorm: 'per-head',
      slidingWindow: windowOf(c),
    }
    const feedForward = qwenFeedForwards(c, {}, file)
    return decoderOf(c, (i) => ({ attention, feedForward: feedForward(i) }))
  },
  names: [...QK_NORM_NAMES, ...DECODER_NAMES],
})
