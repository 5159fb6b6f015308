import { z } from 'zod'
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
import { aliasOf, type FieldsOf, type FieldTable, refused, used, withoutEffect } from './fields.ts'
import { formatRope, ropeObject, share, wholeHeadRopeOf } from './rope.ts'

export const positiveInt = z.int().positive()
export const positive = z.number().positive()
/** Limited, since each layer gets an entry in the config before the weights are looked at. */
export const layerCount = positiveInt.max(10_000)
const nullableInt = positiveInt.nullish()

const tokenId = z.int().nonnegative()
const training = withoutEffect('training only')
const output = withoutEffect('what a call hands out besides logits')
const library = withoutEffect('how a library computes the same')

/** Fields that transformers reads of any decoder, or that all of ours have alike. */
export const decoderFields = {
  hidden_act: used(
    z.enum(['silu', 'swish']).default('silu'),
    'activation of the experts: silu, which is swish',
  ),
  head_dim: used(nullableInt, 'width of a head, even; else hidden_size / num_attention_heads'),
  rope_theta: used(positive.nullish(), 'base of the rotary angles, where the rotary settings name none'),
  rope_parameters: used(ropeObject.nullish(), 'rotary settings: rope_type default, linear, llama3 or yarn'),
  rope_scaling: used(ropeObject.nullish(), 'the same in the older dialect; in the place of rope_parameters'),
  original_max_position_embeddings: used(
    positiveInt.optional(),
    'with rope_type llama3 or yarn: wins over the one in the rotary settings',
  ),
  tie_word_embeddings: used(
    z.boolean().default(false),
    'the unembedding is the embedding, unless the weights have an lm_head.weight of other values',
  ),
  is_causal: refused('true: tokens see those before them', true),
  layer_types: refused(
    '"full_attention" for each layer',
    (value, c) =>
      value === null ||
      (Array.isArray(value) &&
        value.length === c.num_hidden_layers &&
        value.every((type) => type === 'full_attention')),
  ),
  attention_chunk_size: refused('null: no attention in chunks'),
  kv_sharing_modes: refused('null: each layer has keys and values of its own'),
  per_layer_config: refused(
    'none: layers differ in nothing else',
    (value) => typeof value === 'object' && Object.keys(value ?? {}).length === 0,
  ),
  transformers_weights: refused('null: weights are in model.safetensors or its shards'),
  attention_dropout: training,
  initializer_range: training,
  output_router_logits: output,
  output_attentions: output,
  output_hidden_states: output,
  return_dict: output,
  use_cache: library,
  chunk_size_feed_forward: library,
  attn_implementation: library,
  experts_implementation: library,
  dtype: withoutEffect('weights are held as they are stored, or as --dtype says'),
  torch_dtype: withoutEffect('as dtype'),
  pad_token_id: withoutEffect('padding is masked'),
  architectures: withoutEffect('model_type decides; the weights are read as those of a language model'),
  auto_map: withoutEffect('code beside the weights is not run'),
  transformers_version: withoutEffect('both dialects of rotary settings are read'),
  quantization_config: withoutEffect(
    'on shapes; fp8 in blocks and mxfp4 are widened to float32, compressed-tensors of format pack-quantized is held, others are refused',
  ),
  compression_config: withoutEffect('on shapes; to run, one that is not null is refused'),
} satisfies FieldTable

/** The ids that begin and end texts, by default those of the published class. */
export function tokenIds(bos: number | null, eos: number | null) {
  return {
    bos_token_id: used(tokenId.nullable().default(bos), 'begins a text; null is none'),
    eos_token_id: used(
      z
        .union([tokenId, z.array(tokenId)])
        .nullable()
        .default(eos),
      'ends a text, unless generation_config.json says otherwise; a list is several, null is none',
    ),
  } satisfies FieldTable
}

/** Of families whose layers all see every token before. */
export const allVisible = {
  sliding_window: refused('null: every token before is seen'),
} satisfies FieldTable

/** Of families that rotate whole heads. */
export const wholeHeads = {
  partial_rotary_factor: used(
    share.nullish(),
    'nothing with rope_type default, as in transformers; with others expected to be 1',
  ),
} satisfies FieldTable

/** Sizes of a decoder, with the published class's defaults. */
export function sizes(d: { vocab: number; hidden: number; layers: number; positions: number; eps: number }) {
  return {
    vocab_size: used(positiveInt.default(d.vocab), 'V'),
    hidden_size: used(positiveInt.default(d.hidden), 'D'),
    num_hidden_layers: used(layerCount.default(d.layers), 'layers, at most 10,000'),
    max_position_embeddings: used(positiveInt.default(d.positions), 'positions'),
    rms_norm_eps: used(positive.default(d.eps), 'epsilon of the norms'),
  } satisfies FieldTable
}

/** Heads of grouped-query attention; null for `keyValueHeads` is as many. */
export function heads(queries: number, keyValueHeads: number | null) {
  return {
    num_attention_heads: used(
      positiveInt.default(queries),
      'query heads; without head_dim a divisor of hidden_size',
    ),
    num_key_value_heads: used(
      positiveInt.nullable().default(keyValueHeads),
      'key-value heads, a divisor of num_attention_heads; null is as many',
    ),
  } satisfies FieldTable
}

export function attentionBias(by: boolean, says = 'queries, keys, values and output have biases') {
  return { attention_bias: used(z.boolean().default(by), says) } satisfies FieldTable
}

/** One a layer, where a family's layers differ. */
export const layerTypes = {
  layer_types: used(
    z.array(z.enum(['full_attention', 'sliding_attention', 'chunked_attention'])).nullish(),
    'what each layer sees',
  ),
} satisfies FieldTable

/** A decoder of grouped-query attention that rotates whole heads, with the published class's defaults. */
export function groupedFields({
  tokens,
  heads: [queries, keyValueHeads],
  ...d
}: Parameters<typeof sizes>[0] & {
  tokens: [bos: number | null, eos: number | null]
  heads: [queries: number, keyValueHeads: number | null]
}) {
  return {
    ...decoderFields,
    ...tokenIds(...tokens),
    ...wholeHeads,
    ...sizes(d),
    ...heads(queries, keyValueHeads),
  } satisfies FieldTable
}

/** E experts of width H, as Mixtral names them, with the published class's defaults. */
export function localExperts(d: { width: number; experts: number; topK: number }) {
  return {
    ...routerTraining,
    intermediate_size: used(positiveInt.default(d.width), 'H of an expert'),
    num_local_experts: used(positiveInt.default(d.experts), 'E'),
    num_experts: aliasOf('num_local_experts'),
    num_experts_per_tok: used(positiveInt.default(d.topK), 'K, at most E'),
  } satisfies FieldTable
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

/** For training only, of most mixtures. */
export const routerTraining = {
  router_aux_loss_coef: training,
  router_jitter_noise: training,
} satisfies FieldTable

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
  c: DecoderFields & { num_attention_heads: number; attention_bias?: boolean },
  defaultTheta: number,
  file: string,
): GroupedAttention {
  return {
    ...headsOf(c, file),
    bias: c.attention_bias ?? false,
    slidingWindow: null,
    rope: wholeHeadRopeOf(c, defaultTheta, file),
  }
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
  const { vocab_size, hidden_size, num_hidden_layers, hidden_act, ...common } = formatCommon(config)
  const { max_position_embeddings, rms_norm_eps, ...rest } = common
  return {
    vocab_size,
    hidden_size,
    num_hidden_layers,
    num_attention_heads: attention.numHeads,
    num_key_value_heads: attention.numKeyValueHeads,
    head_dim: attention.headDim,
    hidden_act,
    max_position_embeddings,
    rms_norm_eps,
    rope_parameters: formatRope(attention.rope),
    ...rest,
  }
}
