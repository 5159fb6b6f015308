import type { LayerConfig, MoeConfig } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, limit } from './fields.ts'
import { formatDecoder, groupedIn } from './format.ts'
import { decoderOf, groupedOf, localMixture } from './layers.ts'
import { DECODER_NAMES, MIXTRAL_NAMES } from './names.ts'
import { groupedFields, localExperts, sizes } from './schema.ts'

/** Defaults are the class defaults of the published MixtralConfig. */
const fields = {
  ...groupedFields({ tokens: [1, 2], heads: [32, 8] }),
  ...sizes({ vocab: 32000, hidden: 4096, layers: 32, positions: 4096 * 32, eps: 1e-5 }),
  ...localExperts({ width: 14336, experts: 8, topK: 2 }),
  num_experts: aliasOf('num_local_experts'),
  sliding_window: limit(null, 'keys that a token sees, itself included; null is all'),
} satisfies FieldTable

/** Mixtral of Experts (Jiang et al. 2024): every layer a softmax router with renormalised top-k over SwiGLU experts. */
export const mixtral = decoderFamily({
  modelType: 'mixtral',
  fields,
  decoder(c, file) {
    const layer: LayerConfig = {
      attention: { ...groupedOf(c, 1e6, file), slidingWindow: c.sliding_window },
      feedForward: localMixture(c, {}, file),
    }
    return decoderOf(c, () => layer)
  },
  formatConfig(config) {
    const { intermediateSize, router } = config.layers[0].feedForward as MoeConfig
    return {
      architectures: ['MixtralForCausalLM'],
      model_type: 'mixtral',
      ...formatDecoder(config),
      intermediate_size: intermediateSize,
      num_local_experts: router.numExperts,
      num_experts_per_tok: router.topK,
      sliding_window: groupedIn(config).slidingWindow,
    }
  },
  names: [...MIXTRAL_NAMES, ...DECODER_NAMES],
})
