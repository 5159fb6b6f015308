import { ConfigError } from '../errors.ts'
import {
  type GroupedAttention,
  type LayerConfig,
  type ModelConfig,
  type MoeConfig,
  type RopeConfig,
  type RouterConfig,
  softmaxTopK,
} from '../model/config.ts'
import type { FieldsOf } from './fields.ts'
import { wholeHeadRopeOf } from './rope.ts'
import type { decoderFields, layerTypes, localExperts, tokenIds } from './schema.ts'

/*
 * What fields that families have alike say of a decoder and its layers.
 */

type ReadOfAll =
  | 'rope_theta'
  | 'rope_parameters'
  | 'rope_scaling'
  | 'original_max_position_embeddings'
  | 'tie_word_embeddings'

export type DecoderFields = Pick<FieldsOf<typeof decoderFields>, ReadOfAll> &
  FieldsOf<ReturnType<typeof tokenIds>> & {
    vocab_size: number
    hidden_size: number
    num_hidden_layers: number
    num_key_value_heads?: number | null
    max_position_embeddings: number
    rms_norm_eps: number
    partial_rotary_factor?: number | null
  }

/** What a family's fields say of the whole decoder, and its layers by their number. */
export function decoderOf(c: DecoderFields, layer: (i: number) => LayerConfig): Omit<ModelConfig, 'family'> {
  return {
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    maxPositionEmbeddings: c.max_position_embeddings,
    normEps: c.rms_norm_eps,
    tieWordEmbeddings: c.tie_word_embeddings,
    layers: Array.from({ length: c.num_hidden_layers }, (_, i) => layer(i)),
    bosTokenId: c.bos_token_id,
    eosTokenIds: eosOf(c.eos_token_id),
  }
}

/** Grouped-query attention that rotates whole heads and sees all. */
export function groupedOf(
  c: DecoderFields & { num_attention_heads: number; attention_bias?: boolean; clip_qkv?: number | null },
  defaultTheta: number,
  file: string,
): GroupedAttention & { rope: RopeConfig } {
  return {
    ...headsOf(c, file),
    bias: c.attention_bias ?? false,
    slidingWindow: null,
    rope: wholeHeadRopeOf(c, defaultTheta, file),
    ...(c.clip_qkv && { clip: c.clip_qkv }),
  }
}

/** Heads that divide evenly, or a sentence. */
export function headsOf(
  fields: {
    hidden_size: number
    num_attention_heads: number
    num_key_value_heads?: number | null
    head_dim?: number | null
  },
  file: string,
): Pick<GroupedAttention, 'kind' | 'numHeads' | 'numKeyValueHeads' | 'headDim'> {
  const { hidden_size: D, num_attention_heads: numHeads } = fields
  const numKeyValueHeads = fields.num_key_value_heads ?? numHeads
  if (numHeads % numKeyValueHeads !== 0) {
    throw new ConfigError(
      `${file}: "num_key_value_heads" is ${numKeyValueHeads}, expected a divisor of num_attention_heads=${numHeads}`,
    )
  }
  if (!fields.head_dim && D % numHeads !== 0) {
    throw new ConfigError(
      `${file}: "hidden_size" is ${D}, expected a multiple of num_attention_heads=${numHeads}`,
    )
  }
  const headDim = fields.head_dim ?? D / numHeads
  if (headDim % 2 !== 0) {
    throw new ConfigError(
      `${file}: "head_dim" is ${headDim}, expected an even number (rotary embedding turns pairs)`,
    )
  }
  return { kind: 'grouped', numHeads, numKeyValueHeads, headDim }
}

/** Token ids that end a text. */
function eosOf(value: number | number[] | null | undefined): number[] {
  return value == null ? [] : Array.isArray(value) ? value : [value]
}

/**
 * Whether a layer sees only some keys, so many as the field of a name says: by `layer_types`, else by the layer's number where there is
 * a limit at all.
 */
export function seesSome(
  c: FieldsOf<ReturnType<typeof layerTypes>> & { num_hidden_layers: number },
  limit: number | null,
  nameOfLimit: string,
  file: string,
  byNumber: (i: number) => boolean,
): (i: number) => boolean {
  const { layer_types: types } = c
  if (!types) return (i) => limit !== null && byNumber(i)
  checkLength('layer_types', types, c.num_hidden_layers, file)
  if (limit === null && types.some((type) => type !== 'full_attention'))
    throw new ConfigError(
      `${file}: "layer_types" has layers that see some keys, expected "${nameOfLimit}" to say how many`,
    )
  return (i) => types[i] !== 'full_attention'
}

/** A list of one entry a layer. */
export function checkLength(name: string, list: readonly unknown[], layers: number, file: string): void {
  if (list.length === layers) return
  throw new ConfigError(`${file}: "${name}" has ${list.length} entries, expected num_hidden_layers=${layers}`)
}

/** The same as a mixture with a router's options. */
export function localMixture(
  c: FieldsOf<ReturnType<typeof localExperts>>,
  router: Partial<RouterConfig>,
  file: string,
): MoeConfig {
  checkTopK(c.num_experts_per_tok, c.num_local_experts, 'num_local_experts', file)
  return {
    kind: 'moe',
    intermediateSize: c.intermediate_size,
    router: { ...softmaxTopK(c.num_local_experts, c.num_experts_per_tok), ...router },
  }
}

/** A softmax over all E, whose best K are divided by their sum or not. */
export function softmaxRouter(E: number, K: number, normalized: boolean): RouterConfig {
  return { ...softmaxTopK(E, K), weighting: normalized ? 'normalized' : 'scores' }
}

/** K by the name of its field, which E limits. */
export function checkTopK(
  K: number,
  E: number,
  nameOfE: string,
  file: string,
  nameOfK = 'num_experts_per_tok',
): void {
  if (K > E) throw new ConfigError(`${file}: "${nameOfK}" is ${K}, expected at most ${nameOfE}=${E}`)
}
