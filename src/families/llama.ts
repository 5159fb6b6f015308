import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { DenseConfig, ModelConfig } from '../model/config.ts'
import type { Family } from './family.ts'
import { DECODER_NAMES, isStaleBuffer } from './names.ts'
import {
  attentionOf,
  decoderFields,
  eosOf,
  formatDecoder,
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
export const llama: Family = {
  modelType: 'llama',
  parseConfig(json, file) {
    const c = parseFields(fields, json, file)
    const dense: DenseConfig = { kind: 'dense', intermediateSize: c.intermediate_size, bias: c.mlp_bias }
    return {
      family: 'llama',
      vocabSize: c.vocab_size,
      hiddenSize: c.hidden_size,
      maxPositionEmbeddings: c.max_position_embeddings,
      normEps: c.rms_norm_eps,
      tieWordEmbeddings: c.tie_word_embeddings,
      attention: { ...attentionOf(c, file), bias: c.attention_bias, slidingWindow: null },
      rope: ropeOf(c, 1e4, file),
      layers: new Array(c.num_hidden_layers).fill(dense),
      bosTokenId: c.bos_token_id ?? null,
      eosTokenIds: eosOf(c.eos_token_id),
    } satisfies ModelConfig
  },
  formatConfig(config) {
    const [layer] = config.layers
    if (layer.kind !== 'dense') throw new ConfigError('llama: every layer is dense, but layer 0 is a mixture')
    return {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      ...formatDecoder(config),
      intermediate_size: layer.intermediateSize,
      attention_bias: config.attention.bias,
      mlp_bias: layer.bias,
    }
  },
  names: [
    ...DECODER_NAMES,
    ['model.layers.{layer}.mlp.{part}_proj.weight', 'blocks.{layer}.mlp.{part}'],
    ['model.layers.{layer}.mlp.{part}_proj.bias', 'blocks.{layer}.mlp.{part}.bias'],
  ],
  ignored: isStaleBuffer,
}
