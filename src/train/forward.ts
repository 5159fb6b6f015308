import * as tf from '@tensorflow/tfjs-core'
import { partsOf } from '../model/attention/attend.ts'
import { cachedShapes } from '../model/attention/index.ts'
import { queryBlocks } from '../model/attention/mask.ts'
import { decode, unembed } from '../model/decoder.ts'
import { moe, type Training } from '../model/moe.ts'
import { ropeTables } from '../model/rope.ts'
import type { MoeModel } from '../model/transformer.ts'

/** Logits [B T, V] of B whole sequences of T tokens [B T], in ops that have gradients: experts run sparse, nothing is remembered. */
export function trainingLogits(
  { config, weights }: Pick<MoeModel, 'config' | 'weights'>,
  tokens: tf.Tensor1D,
  batch: number,
  training: Training,
): tf.Tensor2D {
  const length = tokens.size / batch
  const positions = Int32Array.from({ length }, (_, t) => t) // of every sequence
  const columns = [new Uint8Array(length).fill(1)]
  const cached = cachedShapes(config.layers)
  const x = decode(config, weights, {
    tokens,
    attention: {
      batch,
      length,
      normEps: config.normEps,
      rope: (rope, headDim) => ropeTables(positions, 1, rope, headDim),
      positions: () => tf.tensor2d(Float32Array.from(positions), [1, length]),
      blocks: (shape) => queryBlocks(columns, length, shape),
      cache: { append: (layer, added) => partsOf(added, cached[layer].parts) },
    },
    padding: null,
    routing: {
      run: (x, weights, config, layer) =>
        moe(x, weights, config, 'sparse', { place: { layer }, training }).output,
    },
  })
  return unembed(x, weights, config)
}
