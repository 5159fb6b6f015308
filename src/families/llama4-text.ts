import { z } from 'zod'
import type { DenseConfig, MoeConfig } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { amount, type FieldTable, flag, limit, size, used, withoutEffect } from './fields.ts'
import { checkLength, decoderOf, groupedOf, localMixture, seesSome } from './layers.ts'
import { ATTENTION_NAMES, isStaleBuffer, type NameRule, stackedExperts } from './names.ts'
import { attentionBias, groupedFields, layerTypes, localExperts, sizes } from './schema.ts'

/** Defaults are the class defaults of the published Llama4TextConfig. */
const fields = {
  ...groupedFields({ tokens: [1, 2], heads: [40, 8] }),
  ...sizes({ vocab: 202048, hidden: 5120, layers: 48, positions: 4096 * 32, eps: 1e-5 }),
  ...attentionBias(false),
  ...layerTypes('chunked_attention'),
  ...localExperts({ width: 8192, experts: 16, topK: 1 }),
  head_dim: size(128, 'width of a head, even'),
  intermediate_size_mlp: size(16384, 'H of the dense layers'),
  interleave_moe_layer_step: size(1, 'every so many layers one is a mixture'),
  moe_layers: used(z.array(z.int().nonnegative()).nullish(), 'the layers that are mixtures, in its place'),
  no_rope_layer_interval: size(4, 'every so many layers one does not rotate'),
  no_rope_layers: used(z.array(z.literal([0, 1])).nullish(), '1 for each layer that rotates, in its place'),
  use_qk_norm: flag(true, 'queries and keys are normed after rotating'),
  attention_chunk_size: limit(
    8192,
    'positions of a chunk, of which rotating layers see their own; null sees all',
  ),
  attn_temperature_tuning: flag(true, 'queries grow with the position where none rotate'),
  floor_scale: size(8192, 'positions from one size of queries to the next'),
  attn_scale: amount(0.1, 'how much they grow'),
  for_llm_compressor: withoutEffect('how a library computes the same'),
} satisfies FieldTable

const FEED_FORWARD = 'model.layers.{layer}.feed_forward'
const NAMES: NameRule[] = [
  [`${FEED_FORWARD}.router.weight`, 'blocks.{layer}.moe.router'],
  [`${FEED_FORWARD}.shared_expert.{part}_proj.weight`, 'blocks.{layer}.moe.shared.{part}'],
  [`${FEED_FORWARD}.{part}_proj.weight`, 'blocks.{layer}.mlp.{part}'],
  ...stackedExperts(`${FEED_FORWARD}.experts`, { transposed: true }),
  ...ATTENTION_NAMES,
]

/** Llama 4 (Meta 2025): weights on the experts' input, a shared expert, chunks, and layers without rotation. */
export const llama4Text = decoderFamily({
  modelType: 'llama4_text',
  fields,
  decoder(c, file) {
    const { rope, ...plain } = groupedOf(c, 500000, file)
    const temperature = c.attn_temperature_tuning ? { every: c.floor_scale, scale: c.attn_scale } : undefined
    const unit = c.use_qk_norm && { unitNorm: c.rms_norm_eps }
    const kinds = (chunk: number | null) => {
      const own = { ...plain, ...(chunk && { chunk }) }
      const turning = { ...own, ...unit, rope: { ...rope, interleaved: true as const } }
      return { turning, still: { ...own, rope: null, temperature } }
    }
    const [whole, chunked] = [kinds(null), kinds(c.attention_chunk_size)]
    const moe: MoeConfig = {
      ...localMixture(c, { scoring: 'none', weighting: 'sigmoid-of-chosen', weighsInput: true }, file),
      sharedExpert: { intermediateSize: c.intermediate_size },
    }
    const dense: DenseConfig = { kind: 'dense', intermediateSize: c.intermediate_size_mlp, bias: false }
    if (c.no_rope_layers?.length) checkLength('no_rope_layers', c.no_rope_layers, c.num_hidden_layers, file)
    const rotates = (i: number) =>
      c.no_rope_layers?.length ? c.no_rope_layers[i] === 1 : (i + 1) % c.no_rope_layer_interval !== 0
    const seesChunk = seesSome(c, c.attention_chunk_size, 'attention_chunk_size', file, rotates)
    const isMixture = (i: number) => c.moe_layers?.includes(i) ?? (i + 1) % c.interleave_moe_layer_step === 0
    return decoderOf(c, (i) => ({
      attention: (seesChunk(i) ? chunked : whole)[rotates(i) ? 'turning' : 'still'],
      feedForward: isMixture(i) ? moe : dense,
    }))
  },
  names: [...NAMES, ...NAMES.map(([name, ...rest]): NameRule => [`language_model.${name}`, ...rest])],
  ignored: (name) => isStaleBuffer(name) || /^(vision_model|multi_modal_projector)\./.test(name),
})
