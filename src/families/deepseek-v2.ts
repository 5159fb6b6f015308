import { z } from 'zod'
import { softmaxTopK } from '../model/config.ts'
import {
  deepseekFeedForwards,
  deepseekMoe,
  groupsOf,
  LATENT_NAMES,
  latentFields,
  latentOf,
} from './deepseek.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, flag, positiveInt, size, used, withoutEffect } from './fields.ts'
import { decoderOf } from './layers.ts'
import { isStaleOrBeyond } from './names.ts'
import { allVisible, sizes, tokenIds } from './schema.ts'

/** Defaults are the class defaults of the published DeepseekV2Config. */
const fields = {
  ...latentFields,
  ...tokenIds(1, 2),
  ...allVisible,
  ...sizes({ vocab: 102400, hidden: 4096, layers: 32, positions: 2048, eps: 1e-6 }),
  ...deepseekMoe({
    widths: [11008, 1407],
    experts: 64,
    topK: 6,
    shared: 2,
    groups: [null, null],
    firstDense: 0,
    scaling: 1,
  }),
  num_experts: aliasOf('n_routed_experts'),
  num_attention_heads: size(32, 'query heads'),
  topk_method: used(
    z.enum(['greedy', 'group_limited_greedy']).default('greedy'),
    'whether experts are chosen from the best groups only',
  ),
  num_experts_per_tok: used(positiveInt, 'K, at most the experts of topk_group groups'),
  head_dim: withoutEffect('the widths of a head have fields of their own'),
  mlp_bias: flag(false, 'dense layers and shared experts have biases'),
  norm_topk_prob: withoutEffect('the published class scales weights, whatever it says'),
  aux_loss_alpha: withoutEffect('training only'),
  seq_aux: withoutEffect('training only'),
} satisfies FieldTable

/** DeepSeek-V2 (arXiv 2405.04434): latent attention, softmax scores as weights, the best groups by their best expert. */
export const deepseekV2 = decoderFamily({
  modelType: 'deepseek_v2',
  fields,
  decoder(c, file) {
    const groups = groupsOf(c, 'max', file)
    const attention = latentOf(c, true, file)
    const feedForward = deepseekFeedForwards(
      c,
      {
        ...softmaxTopK(c.n_routed_experts, c.num_experts_per_tok),
        weighting: 'scores',
        scalingFactor: c.routed_scaling_factor,
        groupLimit: c.topk_method === 'greedy' ? null : groups,
      },
      c.mlp_bias,
    )
    return decoderOf(c, (i) => ({ attention, feedForward: feedForward(i) }))
  },
  names: LATENT_NAMES,
  ignored: isStaleOrBeyond,
})
