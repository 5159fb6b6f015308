import { ConfigError } from '../errors.ts'
import type { LayerConfig } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { type FieldTable, flag, positiveInt, size, used, withoutEffect } from './fields.ts'
import { formatDecoder, groupedIn } from './format.ts'
import { decoderOf, groupedOf } from './layers.ts'
import { DECODER_NAMES } from './names.ts'
import { allVisible, attentionBias, decoderFields, sizes, tokenIds, wholeHeads } from './schema.ts'

/** Defaults are the class defaults of the published LlamaConfig. */
const fields = {
  ...decoderFields,
  ...tokenIds(1, 2),
  ...wholeHeads,
  ...allVisible,
  ...sizes({ vocab: 32000, hidden: 4096, layers: 32, positions: 2048, eps: 1e-6 }),
  ...attentionBias(false),
  num_attention_heads: size(32, 'query heads, a divisor of hidden_size'),
  num_key_value_heads: used(
    positiveInt.nullish(),
    'key-value heads, a divisor of num_attention_heads; absent or null is as many',
  ),
  intermediate_size: size(11008, 'H'),
  mlp_bias: flag(false, 'the SwiGLU has biases'),
  pretraining_tp: withoutEffect('how a library computes the same'),
} satisfies FieldTable

/** Llama (Touvron et al. 2023): the same block with one plain SwiGLU, the dense model that mixtures are compared with. */
export const llama = decoderFamily({
  modelType: 'llama',
  fields,
  decoder(c, file) {
    const { hidden_size: D, num_attention_heads: numHeads } = c
    if (D % numHeads !== 0) {
      throw new ConfigError(
        `${file}: "hidden_size" is ${D}, expected a multiple of num_attention_heads=${numHeads}`,
      )
    }
    const layer: LayerConfig = {
      attention: groupedOf(c, 1e4, file),
      feedForward: { kind: 'dense', intermediateSize: c.intermediate_size, bias: c.mlp_bias },
    }
    return decoderOf(c, () => layer)
  },
  formatConfig(config) {
    const [{ feedForward }] = config.layers
    if (feedForward.kind !== 'dense')
      throw new ConfigError('llama: every layer is dense, but layer 0 is a mixture')
    return {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      ...formatDecoder(config),
      intermediate_size: feedForward.intermediateSize,
      attention_bias: groupedIn(config).bias,
      mlp_bias: feedForward.bias,
    }
  },
  names: DECODER_NAMES,
})
