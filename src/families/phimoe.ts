import { z } from 'zod'
import { decoderFamily } from './family.ts'
import { type FieldTable, flag, limit, used, withoutEffect } from './fields.ts'
import { decoderOf, groupedOf, headsOf, localMixture } from './layers.ts'
import { DECODER_NAMES, MIXTRAL_NAMES } from './names.ts'
import { longropeOf, ropeObject, ropeSettings } from './rope.ts'
import { attentionBias, groupedFields, localExperts, sizes } from './schema.ts'

/** Defaults are the class defaults of the published PhimoeConfig. */
const fields = {
  ...groupedFields({ tokens: [1, 2], heads: [32, 8] }),
  ...sizes({ vocab: 32064, hidden: 4096, layers: 32, positions: 4096 * 32, eps: 1e-5 }),
  ...localExperts({ width: 6400, experts: 16, topK: 2 }),
  ...attentionBias(false),
  rope_parameters: used(ropeObject.nullish(), 'rotary settings: also longrope, up to its original positions'),
  rope_scaling: used(ropeObject.nullish(), 'the same in the older dialect'),
  num_experts_per_tok: withoutEffect('two experts are chosen, whatever it says'),
  router_jitter_noise: used(
    z.number().nonnegative().default(0.01),
    'logits further than twice this share below the best do not count in a weight',
  ),
  sliding_window: limit(null, 'keys that a token sees; null is all'),
  lm_head_bias: flag(false, 'the unembedding has a bias'),
  input_jitter_noise: withoutEffect('training only'),
} satisfies FieldTable

/** Phi-3.5-MoE (arXiv 2404.14219): LayerNorm, and sparsemixer's two experts. */
export const phimoe = decoderFamily({
  modelType: 'phimoe',
  fields,
  decoder(c, file) {
    const rope = longropeOf(c, 1e6, headsOf(c, file).headDim, file)
    const own = groupedOf({ ...c, rope_parameters: null, rope_scaling: null }, 1e6, file)
    const attention = { ...own, slidingWindow: c.sliding_window, rope }
    const router = { scoring: 'none', weighting: 'sparsemixer', jitter: c.router_jitter_noise } as const
    const feedForward = localMixture({ ...c, num_experts_per_tok: 2 }, router, file)
    const decoder = decoderOf(c, () => ({ attention, feedForward }))
    const original =
      rope.scaling.type === 'longrope'
        ? (ropeSettings(c).original_max_position_embeddings ?? c.original_max_position_embeddings)
        : null
    return {
      ...decoder,
      maxPositionEmbeddings: original ?? decoder.maxPositionEmbeddings,
      norms: { perLayer: 2, bias: true },
      unembeddingBias: c.lm_head_bias,
    }
  },
  names: [
    ...MIXTRAL_NAMES,
    ...DECODER_NAMES,
    ['model.layers.{layer}.mlp.router.weight', 'blocks.{layer}.moe.router'],
  ],
})
