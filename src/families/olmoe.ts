import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, flag, positive, size, used } from './fields.ts'
import { checkTopK, decoderOf, groupedOf, softmaxRouter } from './layers.ts'
import { DECODER_NAMES, QK_NORM_NAMES } from './names.ts'
import { allVisible, attentionBias, groupedFields, routerTraining, sizes } from './schema.ts'

/** Defaults are the class defaults of the published OlmoeConfig. */
const fields = {
  ...groupedFields({ tokens: [null, 50279], heads: [16, null] }),
  ...sizes({ vocab: 50304, hidden: 2048, layers: 16, positions: 4096, eps: 1e-5 }),
  ...allVisible,
  ...attentionBias(false),
  ...routerTraining,
  intermediate_size: size(2048, 'H of an expert'),
  num_experts: size(64, 'E'),
  num_local_experts: aliasOf('num_experts'),
  num_experts_per_tok: size(8, 'K, at most E'),
  norm_topk_prob: flag(false, 'weights of the chosen are divided by their sum'),
  clip_qkv: used(positive.nullish(), 'queries, keys and values are cut to plus and minus this'),
} satisfies FieldTable

/** OLMoE (Muennighoff et al. 2024, arXiv 2409.02060): queries and keys normed over all heads, then clipped. */
export const olmoe = decoderFamily({
  modelType: 'olmoe',
  fields,
  decoder(c, file) {
    checkTopK(c.num_experts_per_tok, c.num_experts, 'num_experts', file)
    const attention = { ...groupedOf(c, 1e4, file), qkNorm: 'across-heads' as const }
    const router = softmaxRouter(c.num_experts, c.num_experts_per_tok, c.norm_topk_prob)
    return decoderOf(c, () => ({
      attention,
      feedForward: { kind: 'moe', intermediateSize: c.intermediate_size, router },
    }))
  },
  names: [...QK_NORM_NAMES, ...DECODER_NAMES],
})
