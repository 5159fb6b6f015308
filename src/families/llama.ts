import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { LayerConfig } from '../model/config.ts'
import type { RunnableFamily } from './family.ts'
import { type FieldTable, readFields, used, withoutEffect } from './fields.ts'
import { DECODER_NAMES, isStaleBuffer } from './names.ts'
import {
  allVisible,
  decoderFields,
  decoderOf,
  formatDecoder,
  headsOf,
  layerCount,
  positive,
  positiveInt,
  tokenIds,
  wholeHeadRopeOf,
  wholeHeads,
} from './schema.ts'

/** Defaults are the class defaults of the published LlamaConfig. */
const fields = {
  ...decoderFields,
  ...tokenIds(1, 2),
  ...wholeHeads,
  ...allVisible,
  vocab_size: used(positiveInt.default(32000), 'V'),
  hidden_size: used(positiveInt.default(4096), 'D, a multiple of num_attention_heads'),
  intermediate_size: used(positiveInt.default(11008), 'H'),
  num_hidden_layers: used(layerCount.default(32), 'layers, at most 10,000'),
  num_attention_heads: used(positiveInt.default(32), 'query heads'),
  num_key_value_heads: used(
    positiveInt.nullish(),
    'key-value heads, a divisor of num_attention_heads; absent or null is as many',
  ),
  max_position_embeddings: used(positiveInt.default(2048), 'positions'),
  rms_norm_eps: used(positive.default(1e-6), 'epsilon of the norms'),
  attention_bias: used(z.boolean().default(false), 'queries, keys, values and output have biases'),
  mlp_bias: used(z.boolean().default(false), 'the SwiGLU has biases'),
  pretraining_tp: withoutEffect('how a library computes the same'),
} satisfies FieldTable

/** Llama (Touvron et al. 2023): the same block with one plain SwiGLU, the dense model that mixtures are compared with. */
export const llama: RunnableFamily = {
  runnable: true,
  modelType: 'llama',
  fields,
  parseConfig(json, file) {
    const c = readFields(fields, json, file)
    const { hidden_size: D, num_attention_heads: numHeads } = c
    if (D % numHeads !== 0) {
      throw new ConfigError(
        `${file}: "hidden_size" is ${D}, expected a multiple of num_attention_heads=${numHeads}`,
      )
    }
    const layer: LayerConfig = {
      attention: {
        ...headsOf(c, file),
        bias: c.attention_bias,
        slidingWindow: null,
        rope: wholeHeadRopeOf(c, 1e4, file),
      },
      feedForward: { kind: 'dense', intermediateSize: c.intermediate_size, bias: c.mlp_bias },
    }
    return decoderOf('llama', c, () => layer)
  },
  formatConfig(config) {
    const [{ attention, feedForward }] = config.layers
    if (feedForward.kind !== 'dense')
      throw new ConfigError('llama: every layer is dense, but layer 0 is a mixture')
    return {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      ...formatDecoder(config),
      intermediate_size: feedForward.intermediateSize,
      attention_bias: attention.bias,
      mlp_bias: feedForward.bias,
    }
  },
  names: DECODER_NAMES,
  ignored: isStaleBuffer,
}
