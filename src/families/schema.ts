import { z } from 'zod'
import {
  amount,
  type FieldTable,
  flag,
  limit,
  positive,
  positiveInt,
  refused,
  size,
  used,
  withoutEffect,
} from './fields.ts'
import { ropeObject, share } from './rope.ts'

/*
 * Fields that families have alike, by groups.
 */

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
  tie_word_embeddings: flag(
    false,
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
    'on shapes; fp8 in blocks, mxfp4 and compressed-tensors of format pack-quantized are held as they are stored, others are refused',
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
    vocab_size: size(d.vocab, 'V'),
    hidden_size: size(d.hidden, 'D'),
    num_hidden_layers: used(layerCount.default(d.layers), 'layers, at most 10,000'),
    max_position_embeddings: size(d.positions, 'positions'),
    rms_norm_eps: amount(d.eps, 'epsilon of the norms'),
  } satisfies FieldTable
}

/** Heads of grouped-query attention; null for `keyValueHeads` is as many. */
export function heads(queries: number, keyValueHeads: number | null) {
  return {
    num_attention_heads: size(queries, 'query heads; without head_dim a divisor of hidden_size'),
    num_key_value_heads: limit(
      keyValueHeads,
      'key-value heads, a divisor of num_attention_heads; null is as many',
    ),
  } satisfies FieldTable
}

export function attentionBias(by: boolean, says = 'queries, keys, values and output have biases') {
  return { attention_bias: flag(by, says) } satisfies FieldTable
}

/** One a layer, where a family's layers differ: all keys, or some. */
export function layerTypes<Some extends string>(some: Some) {
  const type = z.enum(['full_attention', some])
  return {
    layer_types: used(z.array(type).nullish(), `what each layer sees: full_attention or ${some}`),
  } satisfies FieldTable
}

/** A decoder of grouped-query attention that rotates whole heads, but for its sizes; defaults as those of its parts. */
export function groupedFields(d: {
  tokens: [bos: number | null, eos: number | null]
  heads: [queries: number, keyValueHeads: number | null]
}) {
  return {
    ...decoderFields,
    ...tokenIds(...d.tokens),
    ...wholeHeads,
    ...heads(...d.heads),
  } satisfies FieldTable
}

/** E experts of width H, as Mixtral names them, with the published class's defaults. */
export function localExperts(d: { width: number; experts: number; topK: number }) {
  return {
    ...routerTraining,
    intermediate_size: size(d.width, 'H of an expert'),
    num_local_experts: size(d.experts, 'E'),
    num_experts_per_tok: size(d.topK, 'K, at most E'),
  } satisfies FieldTable
}

/** For training only, of most mixtures. */
export const routerTraining = {
  router_aux_loss_coef: training,
  router_jitter_noise: training,
} satisfies FieldTable
