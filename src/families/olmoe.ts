import { z } from 'zod'
import { softmaxTopK } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, used } from './fields.ts'
import { DECODER_NAMES, QK_NORM_NAMES } from './names.ts'
import {
  allVisible,
  attentionBias,
  checkTopK,
  decoderOf,
  groupedFields,
  groupedOf,
  positive,
  positiveInt,
  routerTraining,
} from './schema.ts'

/** Defaults are the class defaults of the published OlmoeConfig. */
const fields = {
  ...groupedFields({
    tokens: [null, 50279],
    heads: [16, null],
    vocab: 50304,
    hidden: 2048,
    layers: 16,
    positions: 4096,
    eps: 1e-5,
  }),
  ...allVisible,
  ...attentionBias(false),
  ...routerTraining,
  intermediate_size: used(positiveInt.default(2048), 'H of an expert'),
  num_experts: used(positiveInt.default(64), 'E'),
  num_local_experts: aliasOf('num_experts'),
  num_experts_per_tok: used(positiveInt.default(8), 'K, at most E'),
  norm_topk_prob: used(z.boolean().default(false), 'weights of the chosen are divided by their sum'),
  clip_qkv: used(positive.nullish(), 'queries, keys and values are cut to plus and minus this'),
} satisfies FieldTable

/** OLMoE (Muennighoff et al. 2024, arXiv 2409.02060): queries and keys normed over all heads, then clipped. */
export const olmoe = decoderFamily({
  modelType: 'olmoe',
  fields,
  decoder(c, file) {
    checkTopK(c.num_experts_per_tok, c.num_experts, 'num_experts', file)
    const attention = {
      ...groupedOf(c, 1e4, file),
      qkNorm: 'across-heads' as const,
      ...(c.clip_qkv && { clip: c.clip_qkv }),
    }
    const router = {
      ...softmaxTopK(c.num_experts, c.num_experts_per_tok),
      weighting: c.norm_topk_prob ? ('normalized' as const) : ('scores' as const),
    }
    return decoderOf(c, () => ({
      attention,
      feedForward: { kind: 'moe', intermediateSize: c.intermediate_size, router },
    }))
  },
  names: [...QK_NORM_NAMES, ...DECODER_NAMES],
})
