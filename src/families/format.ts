import { ConfigError } from '../errors.ts'
import type { GroupedAttention, ModelConfig, RopeConfig } from '../model/config.ts'

/*
 * config.json of models that are made here.
 */

/** The attention of families whose layers have the same. */
export function groupedIn({ family, layers }: ModelConfig): GroupedAttention & { rope: RopeConfig } {
  const [{ attention }] = layers
  if (attention.kind === 'grouped' && attention.rope) return { ...attention, rope: attention.rope }
  throw new ConfigError(`${family}: layer 0 has ${attention.kind} attention, expected grouped with rotation`)
}

/** What is the same in all families, in the newer dialect. */
export function formatCommon(config: ModelConfig): Record<string, unknown> {
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.layers.length,
    hidden_act: 'silu',
    max_position_embeddings: config.maxPositionEmbeddings,
    rms_norm_eps: config.normEps,
    tie_word_embeddings: config.tieWordEmbeddings,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length > 1 ? config.eosTokenIds : (config.eosTokenIds[0] ?? null),
    attention_dropout: 0,
    dtype: 'float32',
  }
}

/** The same with grouped-query attention. */
export function formatDecoder(config: ModelConfig): Record<string, unknown> {
  const attention = groupedIn(config)
  const { rope, headDim } = attention
  const { vocab_size, hidden_size, num_hidden_layers, hidden_act, ...common } = formatCommon(config)
  const { max_position_embeddings, rms_norm_eps, ...rest } = common
  return {
    vocab_size,
    hidden_size,
    num_hidden_layers,
    num_attention_heads: attention.numHeads,
    num_key_value_heads: attention.numKeyValueHeads,
    head_dim: headDim,
    hidden_act,
    max_position_embeddings,
    rms_norm_eps,
    rope_parameters: {
      ...formatRope(rope),
      ...(rope.rotaryDim && { partial_rotary_factor: rope.rotaryDim / headDim }),
    },
    ...rest,
  }
}

export function formatRope({ theta, scaling, magnitude }: RopeConfig): Record<string, unknown> {
  const common = { rope_theta: theta, rope_type: scaling.type }
  switch (scaling.type) {
    case 'default':
      return common
    case 'linear':
      return { ...common, factor: scaling.factor }
    case 'llama3':
      return {
        ...common,
        factor: scaling.factor,
        low_freq_factor: scaling.lowFreqFactor,
        high_freq_factor: scaling.highFreqFactor,
        original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
      }
    case 'yarn':
      return {
        ...common,
        factor: scaling.factor,
        beta_fast: scaling.betaFast,
        beta_slow: scaling.betaSlow,
        truncate: scaling.truncate,
        original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
        attention_factor: magnitude,
        ...(scaling.mscaleAllDim && { mscale_all_dim: scaling.mscaleAllDim }),
      }
    case 'longrope':
      throw new ConfigError('rope_type longrope: is read and not written')
  }
}
