import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { RopeConfig } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { type FieldsOf, type FieldTable, used, withoutEffect } from './fields.ts'
import { DECODER_NAMES, MIXTRAL_NAMES } from './names.ts'
import { ropeObject, ropeSettings } from './rope.ts'
import {
  attentionBias,
  decoderOf,
  groupedFields,
  groupedOf,
  localExperts,
  localMixture,
  positive,
  positiveInt,
} from './schema.ts'

const rope = ropeObject.extend({
  short_factor: z.array(positive).optional(),
  short_mscale: positive.optional(),
})

/** Defaults are the class defaults of the published PhimoeConfig. */
const fields = {
  ...groupedFields({
    tokens: [1, 2],
    heads: [32, 8],
    vocab: 32064,
    hidden: 4096,
    layers: 32,
    positions: 4096 * 32,
    eps: 1e-5,
  }),
  ...localExperts({ width: 6400, experts: 16, topK: 2 }),
  ...attentionBias(false),
  rope_parameters: used(rope.nullish(), 'rotary settings: also longrope, up to its original positions'),
  rope_scaling: used(rope.nullish(), 'the same in the older dialect'),
  num_experts_per_tok: withoutEffect('two experts are chosen, whatever it says'),
  router_jitter_noise: used(
    z.number().nonnegative().default(0.01),
    'logits further than twice this share below the best do not count in a weight',
  ),
  sliding_window: used(positiveInt.nullable().default(null), 'keys that a token sees; null is all'),
  lm_head_bias: used(z.boolean().default(false), 'the unembedding has a bias'),
  input_jitter_noise: withoutEffect('training only'),
} satisfies FieldTable

/** Phi-3.5-MoE (arXiv 2404.14219): LayerNorm, and sparsemixer's two experts. */
export const phimoe = decoderFamily({
  modelType: 'phimoe',
  fields,
  decoder(c, file) {
    const long = longropeOf(c, file)
    const settled = long ? { ...c, rope_parameters: null, rope_scaling: null } : c
    const attention = { ...groupedOf(settled, 1e6, file), slidingWindow: c.sliding_window, ...long }
    const router = { scoring: 'none', weighting: 'sparsemixer', jitter: c.router_jitter_noise } as const
    const feedForward = localMixture({ ...c, num_experts_per_tok: 2 }, router, file)
    const decoder = decoderOf(c, () => ({ attention, feedForward }))
    const original = long
      ? (c.original_max_position_embeddings ?? ropeSettings(c).original_max_position_embeddings)
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

/** longrope's rotation, if it is asked for. Beyond the original positions libraries differ, so those are all there are. */
function longropeOf(c: FieldsOf<typeof fields>, file: string): { rope: RopeConfig } | null {
  const settings = ropeSettings(c) as z.output<typeof rope>
  if ((settings.rope_type ?? settings.type) !== 'longrope') return null
  const { short_factor: factors, short_mscale: magnitude = 1, rope_theta: theta } = settings
  const { headDim } = groupedOf({ ...c, rope_parameters: null, rope_scaling: null }, 1e6, file)
  if (factors?.length === headDim / 2)
    return {
      rope: { theta: theta ?? c.rope_theta ?? 1e6, scaling: { type: 'longrope', factors }, magnitude },
    }
  throw new ConfigError(
    `${file}: "short_factor" has ${factors?.length ?? 'no'} numbers, expected ${headDim / 2}, one for each two channels of a head`,
  )
}
