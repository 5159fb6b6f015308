import { z } from 'zod'
import type { GroupedAttention } from '../model/config.ts'
import { decoderFamily } from './family.ts'
import { type FieldTable, flag, size, used } from './fields.ts'
import { decoderOf, groupedOf, seesSome } from './layers.ts'
import { DECODER_NAMES } from './names.ts'
import { qwenFeedForwards, qwenMoe, windowOf } from './qwen.ts'
import { groupedFields, layerTypes, sizes } from './schema.ts'

/** Defaults are the class defaults of the published Qwen2MoeConfig. */
const fields = {
  ...groupedFields({ tokens: [null, null], heads: [16, 16] }),
  ...sizes({ vocab: 151936, hidden: 2048, layers: 24, positions: 32768, eps: 1e-6 }),
  ...qwenMoe({ widths: [5632, 1408], experts: 60, topK: 4 }),
  ...layerTypes('sliding_attention'),
  qkv_bias: flag(true, 'queries, keys and values have biases'),
  shared_expert_intermediate_size: size(5632, 'H of the expert that every token passes through'),
  max_window_layers: used(
    z.int().nonnegative().default(28),
    'without layer_types: the even layers below it have the window',
  ),
} satisfies FieldTable

/** Qwen1.5's and Qwen2's mixtures (arXiv 2407.10671): a gate, one number a token, on the shared expert. */
export const qwen2Moe = decoderFamily({
  modelType: 'qwen2_moe',
  fields,
  decoder(c, file) {
    const full: GroupedAttention = { ...groupedOf(c, 1e4, file), bias: c.qkv_bias, outputBias: false }
    const slidingWindow = windowOf(c)
    const windowed: GroupedAttention = { ...full, slidingWindow }
    const inTurn = (i: number) => i % 2 === 0 && i < c.max_window_layers
    const isWindowed = seesSome(c, slidingWindow, 'use_sliding_window', file, inTurn)
    const sharedExpert = { intermediateSize: c.shared_expert_intermediate_size, gate: true }
    const feedForward = qwenFeedForwards(c, { sharedExpert }, file)
    return decoderOf(c, (i) => ({
      attention: isWindowed(i) ? windowed : full,
      feedForward: feedForward(i),
    }))
  },
  names: [
    ['model.layers.{layer}.mlp.shared_expert.{part}_proj.weight', 'blocks.{layer}.moe.shared.{part}'],
    ['model.layers.{layer}.mlp.shared_expert_gate.weight', 'blocks.{layer}.moe.sharedGate'],
    ...DECODER_NAMES,
  ],
})
