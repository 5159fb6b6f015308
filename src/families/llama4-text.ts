import { z } from 'zod'
import type { GroupedAttention, MoeConfig } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { type FieldTable, used, withoutEffect } from './fields.ts'
import { DECODER_NAMES, isStaleBuffer, type NameRule } from './names.ts'
import {
  attentionBias,
  decoderOf,
  groupedFields,
  groupedOf,
  layerTypes,
  localExperts,
  localMixture,
  positive,
  positiveInt,
} from './schema.ts'

/** Defaults are the class defaults of the published Llama4TextConfig. */
const fields = {
  ...groupedFields({
    tokens: [1, 2],
    heads: [40, 8],
    vocab: 202048,
    hidden: 5120,
    layers: 48,
    positions: 4096 * 32,
    eps: 1e-5,
  }),
  ...attentionBias(false),
  ...layerTypes,
  ...localExperts({ width: 8192, experts: 16, topK: 1 }),
  head_dim: used(positiveInt.default(128), 'width of a head, even'),
  intermediate_size_mlp: used(positiveInt.default(16384), 'H of the dense layers'),
  interleave_moe_layer_step: used(positiveInt.default(1), 'every so many layers one is a mixture'),
  moe_layers: used(z.array(z.int().nonnegative()).nullish(), 'the layers that are mixtures, in its place'),
  no_rope_layer_interval: used(positiveInt.default(4), 'every so many layers one does not rotate'),
  no_rope_layers: used(z.array(z.int()).nullish(), '1 for each layer that rotates, in its place'),
  use_qk_norm: used(z.boolean().default(true), 'queries and keys are normed after rotating'),
  attention_chunk_size: used(
    positiveInt.nullable().default(8192),
    'positions of a chunk, of which rotating layers see their own; null sees all',
  ),
  attn_temperature_tuning: used(
    z.boolean().default(true),
    'queries grow with the position where none rotate',
  ),
  floor_scale: used(positive.default(8192), 'positions from one size of queries to the next'),
  attn_scale: used(positive.default(0.1), 'how much they grow'),
  for_llm_compressor: withoutEffect('how a library computes the same'),
} satisfies FieldTable

const NAMES: NameRule[] = [
  ['model.layers.{layer}.feed_forward.router.weight', 'blocks.{layer}.moe.router'],
  ['model.layers.{layer}.feed_forward.shared_expert.{part}_proj.weight', 'blocks.{layer}.moe.shared.{part}'],
  ['model.layers.{layer}.feed_forward.{part}_proj.weight', 'blocks.{layer}.mlp.{part}'],
  ...(['gate_up gate+up', 'down down'] as const).map((pair): NameRule => {
    const [published, ours] = pair.split(' ')
    const file = `model.layers.{layer}.feed_forward.experts.${published}_proj`
    return [file, `blocks.{layer}.moe.experts.{expert}.${ours}`, { transposed: true }]
  }),
  ...DECODER_NAMES.filter(([published]) => !published.includes('.mlp.')),
]

/** Llama 4 (Meta 2025): weights on the experts' input, a shared expert, chunks, and layers without rotation. */
export const llama4Text = decoderFamily({
  modelType: 'llama4_text',
  fields,
  decoder(c, file) {
    const { rope, ...still }: GroupedAttention = groupedOf(c, 500000, file)
    const chunk = c.attention_chunk_size ? { chunk: c.attention_chunk_size } : {}
    const turning = {
      ...still,
      rope: rope && { ...rope, interleaved: true as const },
      ...(c.use_qk_norm && { unitNorm: c.rms_norm_eps }),
    }
    const temperature = c.attn_temperature_tuning ? { every: c.floor_scale, scale: c.attn_scale } : undefined
    const kinds = { turning, still: { ...still, rope: null, temperature } }
    const chunked = { turning: { ...turning, ...chunk }, still: { ...kinds.still, ...chunk } }
    const moe: MoeConfig = {
      ...localMixture(c, { scoring: 'none', weighting: 'sigmoid-of-chosen', weighsInput: true }, file),
      sharedExpert: { intermediateSize: c.intermediate_size },
    }
    return decoderOf(c, (i) => {
      const rotates = c.no_rope_layers?.length
        ? c.no_rope_layers[i] === 1
        : (i + 1) % c.no_rope_layer_interval !== 0
      const seesChunk = c.layer_types ? c.layer_types[i] === 'chunked_attention' : rotates
      const isMixture = c.moe_layers?.includes(i) ?? (i + 1) % c.interleave_moe_layer_step === 0
      return {
        attention: (seesChunk ? chunked : kinds)[rotates ? 'turning' : 'still'],
        feedForward: isMixture
          ? moe
          : { kind: 'dense', intermediateSize: c.intermediate_size_mlp, bias: false },
      }
    })
  },
  names: [...NAMES, ...NAMES.map(([name, ...rest]): NameRule => [`language_model.${name}`, ...rest])],
  ignored: (name) => isStaleBuffer(name) || /^(vision_model|multi_modal_projector)\./.test(name),
})
