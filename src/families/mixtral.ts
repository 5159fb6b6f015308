import { type LayerConfig, type MoeConfig, softmaxTopK } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { aliasOf, type FieldTable, used } from './fields.ts'
import { DECODER_NAMES, MIXTRAL_NAMES } from './names.ts'
import {
  checkTopK,
  decoderFields,
  decoderOf,
  formatDecoder,
  groupedIn,
  groupedOf,
  heads,
  positiveInt,
  routerTraining,
  sizes,
  tokenIds,
  wholeHeads,
} from './schema.ts'

/** Defaults are the class defaults of the published MixtralConfig. */
const fields = {
  ...decoderFields,
  ...tokenIds(1, 2),
  ...wholeHeads,
  ...sizes({ vocab: 32000, hidden: 4096, layers: 32, positions: 4096 * 32, eps: 1e-5 }),
  ...heads(32, 8),
  ...routerTraining,
  intermediate_size: used(positiveInt.default(14336), 'H of an expert'),
  num_local_experts: used(positiveInt.default(8), 'E'),
  num_experts: aliasOf('num_local_experts'),
  num_experts_per_tok: used(positiveInt.default(2), 'K, at most E'),
  sliding_window: used(
    positiveInt.nullable().default(null),
    'keys that a token sees, itself included; null is all',
  ),
} satisfies FieldTable

/** Mixtral of Experts (Jiang et al. 2024): every layer a softmax router with renormalised top-k over SwiGLU experts. */
export const mixtral = decoderFamily({
  modelType: 'mixtral',
  fields,
  decoder(c, file) {
    checkTopK(c.num_experts_per_tok, c.num_local_experts, 'num_local_experts', file)
    const layer: LayerConfig = {
      attention: { ...groupedOf(c, 1e6, file), slidingWindow: c.sliding_window },
      feedForward: {
        kind: 'moe',
        intermediateSize: c.intermediate_size,
        router: softmaxTopK(c.num_local_experts, c.num_experts_per_tok),
      },
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
