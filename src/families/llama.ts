import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { LayerConfig } from '../model/config.ts'
import type { RunnableFamily } from './family.ts'
import { DECODER_NAMES, isStaleBuffer } from './names.ts'
import {
  decoderFields,
  decoderOf,
  formatDecoder,
  headsOf,
  layerCount,
  parseFields,
  positive,
  positiveInt,
  ropeOf,
} from './schema.ts'

/** Defaults are the class defaults of the published LlamaConfig. */
const fields = z.looseObject({
  ...decoderFields,
  model_type: z.literal('llama'),
  vocab_size: positiveInt.default(32000),
  hidden_size: positiveInt.default(4096),
  intermediate_size: positiveInt.default(11008),
  num_hidden_layers: layerCount.default(32),
  num_attention_heads: positiveInt.default(32),
  max_position_embeddings: positiveInt.default(2048),
  rms_norm_eps: positive.default(1e-6),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
})

/** Llama (Touvron et al. 2023): the same block with one plain SwiGLU, the dense model that mixtures are compared with. */
export const llama: RunnableFamily = {
  runnable: true,
  modelType: 'llama',
  parseConfig(json, file) {
    const c = parseFields(fields, json, file)
    const layer: LayerConfig = {
      attention: {
        ...headsOf(c, file),
        bias: c.attention_bias,
        slidingWindow: null,
        rope: ropeOf(c, 1e4, file),
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
