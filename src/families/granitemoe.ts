import { decoderFamily } from './family.ts'
import { amount, type FieldTable } from './fields.ts'
import { decoderOf, groupedOf, localMixture } from './layers.ts'
import { DECODER_NAMES, stackedExperts } from './names.ts'
import { allVisible, attentionBias, groupedFields, localExperts, sizes } from './schema.ts'

const factor = (says: string) => amount(1, says)

/** Defaults are the class defaults of the published GraniteMoeConfig. */
const fields = {
  ...groupedFields({ tokens: [1, 2], heads: [32, null] }),
  ...sizes({ vocab: 32000, hidden: 4096, layers: 32, positions: 2048, eps: 1e-6 }),
  ...allVisible,
  ...attentionBias(false),
  ...localExperts({ width: 11008, experts: 8, topK: 2 }),
  embedding_multiplier: factor('multiplies the embedding'),
  residual_multiplier: factor('multiplies what each half of a layer adds'),
  attention_multiplier: factor("multiplies attention's scores, in the place of d^(-1/2)"),
  logits_scaling: factor('divides the logits'),
} satisfies FieldTable

const MOE = 'model.layers.{layer}.block_sparse_moe'
const EXPERTS = 'blocks.{layer}.moe.experts.{expert}'

/** Granite 3's mixtures (IBM 2024): multipliers, and a softmax over the chosen logits. */
export const graniteMoe = decoderFamily({
  modelType: 'granitemoe',
  fields,
  decoder(c, file) {
    const attention = { ...groupedOf(c, 1e4, file), scale: c.attention_multiplier }
    const feedForward = localMixture(c, { scoring: 'none', weighting: 'softmax-of-chosen' }, file)
    const multipliers = {
      embedding: c.embedding_multiplier,
      residual: c.residual_multiplier,
      logits: 1 / c.logits_scaling,
    }
    return { ...decoderOf(c, () => ({ attention, feedForward })), multipliers }
  },
  names: [
    [`${MOE}.router.layer.weight`, 'blocks.{layer}.moe.router'],
    [`${MOE}.input_linear.weight`, `${EXPERTS}.gate+up`],
    [`${MOE}.output_linear.weight`, `${EXPERTS}.down`],
    ...DECODER_NAMES,
    [`${MOE}.router.weight`, 'blocks.{layer}.moe.router'],
    ...stackedExperts(`${MOE}.experts`),
  ],
})
