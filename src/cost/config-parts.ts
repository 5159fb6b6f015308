import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { layerCount, parseFields, positiveInt } from '../families/schema.ts'
import {
  type ArchitectureSpec,
  type AttentionSpec,
  type DenseSpec,
  type GroupedAttention,
  type LayerSpec,
  type MixtureSpec,
  plainMixture,
} from './architecture.ts'

/*
 * What families of config.json share: fields, and the parts of a layer made from them.
 */

export const count = z.int().nonnegative()
export const flag = z.boolean().nullish()

/** What most families call alike. */
export const decoder = {
  vocab_size: positiveInt,
  hidden_size: positiveInt,
  num_hidden_layers: layerCount,
  num_attention_heads: positiveInt,
  num_key_value_heads: positiveInt.nullish(),
  head_dim: positiveInt.nullish(),
  attention_bias: flag,
  tie_word_embeddings: flag,
}
export type Decoder = z.output<z.ZodObject<typeof decoder>>

export type Reader = (json: unknown, file: string) => ArchitectureSpec

/** Reads the fields of a family and describes its layers; `tied` is what a config without the field means. */
export function family<Shape extends z.ZodRawShape>(
  shape: Shape,
  layer: (c: Decoder & z.output<z.ZodObject<Shape>>, i: number) => LayerSpec,
  { tied = false, finalNorm = 1 } = {},
): Reader {
  const schema = z.looseObject({ ...decoder, ...shape })
  return (json, file) => {
    const c = parseFields(schema, json, file) as unknown as Decoder & z.output<z.ZodObject<Shape>>
    const { vocab_size: vocabSize, hidden_size: D, num_hidden_layers: L } = c
    return {
      vocabSize,
      hiddenSize: D,
      tied: c.tie_word_embeddings ?? tied,
      finalNorm: finalNorm * D,
      layers: Array.from({ length: L }, (_, i) => checked(layer(c, i), file)),
    }
  }
}

function checked(layer: LayerSpec, file: string): LayerSpec {
  for (const part of [layer.attention, layer.feedForward]) {
    if ('topK' in part && part.topK > part.numExperts) {
      throw new ConfigError(
        `${file}: ${part.topK} experts a token, expected at most the ${part.numExperts} there are`,
      )
    }
  }
  return layer
}

/** Grouped-query attention as most families have it. */
export function grouped(c: Decoder, more: Partial<GroupedAttention> = {}): GroupedAttention {
  const numHeads = c.num_attention_heads
  return {
    kind: 'grouped',
    numHeads,
    numKeyValueHeads: c.num_key_value_heads ?? numHeads,
    headDim: c.head_dim ?? Math.floor(c.hidden_size / numHeads),
    biases: 0,
    norms: 0,
    window: null,
    ...more,
  }
}

/** Biases of queries, keys and values, and of the output where it has one. */
export function projectionBiases(c: Decoder, output: boolean): number {
  const { numHeads, numKeyValueHeads, headDim } = grouped(c)
  return (numHeads + 2 * numKeyValueHeads) * headDim + (output ? c.hidden_size : 0)
}

/** Norms on every query and key head alike ([d] each), or over all heads at once. */
export function headNorms(c: Decoder): number {
  return 2 * grouped(c).headDim
}

export function wideNorms(c: Decoder): number {
  const { numHeads, numKeyValueHeads, headDim } = grouped(c)
  return (numHeads + numKeyValueHeads) * headDim
}

export function swiglu(width: number): DenseSpec {
  return { kind: 'dense', width, biases: 0 }
}

/** Two norms of [D] a layer unless said otherwise. */
export function layerOf(
  c: Decoder,
  attention: AttentionSpec,
  feedForward: DenseSpec | MixtureSpec,
  norms = 2,
): LayerSpec {
  return { attention, feedForward, norms: norms * c.hidden_size }
}

/** Mixtral's layout with its field names. */
export const localExperts = {
  intermediate_size: positiveInt,
  num_local_experts: positiveInt,
  num_experts_per_tok: positiveInt,
}

export function localMixture(c: z.output<z.ZodObject<typeof localExperts>>): MixtureSpec {
  return plainMixture(c.num_local_experts, c.num_experts_per_tok, c.intermediate_size)
}

/** One value, or one a layer. */
export const perLayer = z.union([count, z.array(count)])

export function at(value: z.output<typeof perLayer>, i: number): number {
  return Array.isArray(value) ? value[Math.min(i, value.length - 1)] : value
}
