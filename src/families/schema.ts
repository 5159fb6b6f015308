import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { GroupedAttention, LayerConfig, ModelConfig, RopeConfig, RopeScaling } from '../model/config.ts'
import { excerpt, shown } from '../text/foreign.ts'

/** Fields that Mixtral, Llama and their relatives share, in both dialects of config.json. */
export const positiveInt = z.int().positive()
export const positive = z.number().positive()
/** Limited, since each layer gets an entry in the config before the weights are looked at. */
export const layerCount = positiveInt.max(10_000)
const share = z.number().positive().max(1)
const nullableInt = positiveInt.nullish()

const ropeObject = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: positive.optional(),
  factor: positive.nullish(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: positiveInt.optional(),
  partial_rotary_factor: share.optional(),
})

export const decoderFields = {
  hidden_act: z.literal('silu').default('silu'),
  num_key_value_heads: nullableInt,
  head_dim: nullableInt,
  rope_theta: positive.nullish(),
  rope_scaling: ropeObject.nullish(),
  rope_parameters: ropeObject.nullish(),
  original_max_position_embeddings: nullableInt,
  partial_rotary_factor: share.nullish(),
  tie_word_embeddings: z.boolean().default(false),
  bos_token_id: z.int().nonnegative().nullish(),
  eos_token_id: z.union([z.int().nonnegative(), z.array(z.int().nonnegative())]).nullish(),
}

type DecoderFields = z.infer<z.ZodObject<typeof decoderFields>> & {
  vocab_size: number
  hidden_size: number
  num_hidden_layers: number
  num_attention_heads: number
  max_position_embeddings: number
  rms_norm_eps: number
}

/** Checks `json` against the schema; the first fault becomes one sentence that names file, field and value. */
export function parseFields<S extends z.ZodType>(schema: S, json: unknown, file: string): z.output<S> {
  const result = schema.safeParse(json)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const field = excerpt(issue.path.join('.')) || 'the whole file'
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], json)
  const found = value === undefined ? 'is missing' : `is ${shown(value)}`
  throw new ConfigError(`${file}: "${field}" ${found}, ${issue.message.replace(/^Invalid input: /, '')}`)
}

/** What a family's fields say of the whole decoder, and its layers by their number. */
export function decoderOf(family: string, c: DecoderFields, layer: (i: number) => LayerConfig): ModelConfig {
  return {
    family,
    vocabSize: c.vocab_size,
    hiddenSize: c.hidden_size,
    maxPositionEmbeddings: c.max_position_embeddings,
    normEps: c.rms_norm_eps,
    tieWordEmbeddings: c.tie_word_embeddings,
    layers: Array.from({ length: c.num_hidden_layers }, (_, i) => layer(i)),
    bosTokenId: c.bos_token_id ?? null,
    eosTokenIds: eosOf(c.eos_token_id),
  }
}

/** Heads that divide evenly, or a sentence. */
export function headsOf(
  fields: Pick<DecoderFields, 'hidden_size' | 'num_attention_heads' | 'num_key_value_heads' | 'head_dim'>,
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

/** Rotary settings from either dialect: `rope_parameters`, or `rope_theta` and `rope_scaling`. */
export function ropeOf(fields: DecoderFields, defaultTheta: number, file: string): RopeConfig {
  const rope = fields.rope_parameters ?? fields.rope_scaling ?? {}
  const theta = fields.rope_parameters?.rope_theta ?? fields.rope_theta ?? defaultTheta
  const where = fields.rope_parameters ? 'rope_parameters' : 'rope_scaling'
  const need = (key: 'factor' | 'low_freq_factor' | 'high_freq_factor'): number => {
    const value = rope[key]
    if (value == null)
      throw new ConfigError(`${file}: "${where}.${key}" is missing, expected a number for rope_type ${type}`)
    return value
  }
  const type = rope.rope_type ?? rope.type ?? 'default'
  const scalings: Record<string, () => RopeScaling> = {
    default: () => ({ type: 'default' }),
    linear: () => ({ type: 'linear', factor: need('factor') }),
    llama3: () => ({
      type: 'llama3',
      factor: need('factor'),
      lowFreqFactor: need('low_freq_factor'),
      highFreqFactor: need('high_freq_factor'),
      originalMaxPositionEmbeddings:
        fields.original_max_position_embeddings ??
        rope.original_max_position_embeddings ??
        fields.max_position_embeddings,
    }),
  }
  const scaling = Object.hasOwn(scalings, type) ? scalings[type] : undefined
  if (!scaling) {
    const known = Object.keys(scalings).join(', ')
    throw new ConfigError(`${file}: "${where}.rope_type" is ${shown(type)}, expected one of ${known}`)
  }
  return { theta, scaling: scaling() }
}

/** Token ids that end a text. */
function eosOf(value: number | number[] | null | undefined): number[] {
  return value == null ? [] : Array.isArray(value) ? value : [value]
}

/** The shared fields in the newer dialect. */
export function formatDecoder(config: ModelConfig): Record<string, unknown> {
  const [{ attention }] = config.layers
  return {
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.layers.length,
    num_attention_heads: attention.numHeads,
    num_key_value_heads: attention.numKeyValueHeads,
    head_dim: attention.headDim,
    hidden_act: 'silu',
    max_position_embeddings: config.maxPositionEmbeddings,
    rms_norm_eps: config.normEps,
    rope_parameters: formatRope(attention.rope),
    tie_word_embeddings: config.tieWordEmbeddings,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length === 1 ? config.eosTokenIds[0] : config.eosTokenIds,
    attention_dropout: 0,
    dtype: 'float32',
  }
}

function formatRope({ theta, scaling }: RopeConfig): Record<string, unknown> {
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
  }
}
