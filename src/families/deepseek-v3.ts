import type { LatentAttention } from '../model/config.ts'
import {
  deepseekFeedForwards,
  deepseekMoe,
  formatDeepseekMoe,
  LATENT_NAMES,
  latentFields,
  latentOf,
  normTopK,
  sigmoidRouter,
} from './deepseek.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, flag, refused, size, withoutEffect } from './fields.ts'
import { formatCommon, formatRope } from './format.ts'
import { decoderOf } from './layers.ts'
import { isStaleOrBeyond } from './names.ts'
import { allVisible, sizes, tokenIds } from './schema.ts'

/** Defaults are the class defaults of the published DeepseekV3Config. */
const fields = {
  ...latentFields,
  ...tokenIds(0, 1),
  ...allVisible,
  ...sizes({ vocab: 129280, hidden: 7168, layers: 61, positions: 4096, eps: 1e-6 }),
  ...deepseekMoe({
    widths: [18432, 2048],
    experts: 256,
    topK: 8,
    shared: 1,
    groups: [8, 4],
    firstDense: 3,
    scaling: 2.5,
  }),
  num_local_experts: aliasOf('n_routed_experts'),
  ...normTopK,
  num_attention_heads: size(128, 'query heads'),
  rope_interleave: flag(true, 'pairs that rotate are neighbours, else half a head apart'),
  head_dim: refused(
    'qk_rope_head_dim, or none: it is what rotates',
    (value, c) => value === c.qk_rope_head_dim,
  ),
  topk_method: withoutEffect('not read by the published class'),
} satisfies FieldTable

/** DeepSeek-V3 and R1 (arXiv 2412.19437): latent attention, sigmoid scores with a choosing bias, groups, a shared expert. */
export const deepseekV3 = decoderFamily({
  modelType: 'deepseek_v3',
  fields,
  decoder(c, file) {
    const attention = latentOf(c, c.rope_interleave, file)
    const feedForward = deepseekFeedForwards(c, sigmoidRouter(c, file))
    return decoderOf(c, (i) => ({ attention, feedForward: feedForward(i) }))
  },
  formatConfig(config) {
    const attention = config.layers[0].attention as LatentAttention
    return {
      architectures: ['DeepseekV3ForCausalLM'],
      model_type: 'deepseek_v3',
      ...formatCommon(config),
      num_attention_heads: attention.numHeads,
      num_key_value_heads: attention.numHeads,
      q_lora_rank: attention.queryRank,
      kv_lora_rank: attention.keyValueRank,
      qk_nope_head_dim: attention.nopeDim,
      qk_rope_head_dim: attention.ropeDim,
      v_head_dim: attention.valueDim,
      attention_bias: attention.bias ?? false,
      rope_parameters: formatRope(attention.rope),
      rope_interleave: attention.rope.interleaved ?? false,
      ...formatDeepseekMoe(config),
      scoring_func: 'sigmoid',
      topk_method: 'noaux_tc', // transformers does not read them; vLLM expects a choosing bias by this
    }
  },
  names: LATENT_NAMES,
  ignored: isStaleOrBeyond,
})
