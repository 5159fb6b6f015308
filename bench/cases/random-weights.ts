import * as tf from '@tensorflow/tfjs-core'
import { ascending, sort } from 'd3-array'
import { backend } from '../../src/backend/backend.ts'
import type { Dtype } from '../../src/backend/dtypes.ts'
import { holdRounded } from '../../src/backend/held.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { Xoshiro128 } from '../../src/generate/random.ts'
import { applyExpert, applyExpertTensorflow } from '../../src/model/experts.ts'
import { leaves, mapLeaves } from '../../src/model/tree.ts'
import type { ExpertWeights } from '../../src/model/weights.ts'
import type { LayerDims, Twin } from '../schema.ts'

/** Random numbers in the block that tensors are cut from; a prime, so that no row of a matrix repeats soon. */
const BLOCK = 1_048_583

/**
 * Tensors of seeded random numbers, uniform in [-limit, limit). They are cut from one block that repeats: a layer of
 * billions of weights is made in the time of copying it, and what repeats makes no difference to speed.
 */
export class RandomTensors {
  private readonly block: Float32Array
  private at = 0

  constructor(seed: number) {
    const random = Xoshiro128.fromSeed(seed)
    this.block = Float32Array.from({ length: BLOCK }, () => random.next() / 2 ** 31 - 1)
  }

  matrix(rows: number, columns: number, limit: number): tf.Tensor2D {
    const values = new Float32Array(rows * columns)
    for (let filled = 0; filled < values.length; ) {
      const piece = this.block.subarray(this.at, this.at + values.length - filled)
      values.set(piece, filled)
      filled += piece.length
      this.at = (this.at + piece.length) % BLOCK
    }
    return tf.tensor2d(
      values.map((value) => value * limit),
      [rows, columns],
    )
  }

  /** For a product with `inputs` terms a value: variance 1 / inputs, so that values keep their size from layer to layer. */
  weights(rows: number, columns: number, inputs: number): tf.Tensor2D {
    return this.matrix(rows, columns, Math.sqrt(3 / inputs))
  }
}

/** Width of the plain feed-forward that is as large as what one token uses of the mixture, or as all of it. */
export function twinWidth({ H, E, K }: Pick<LayerDims, 'H' | 'E' | 'K'>, twin: Twin): number {
  return (twin === 'twin-active' ? K : E) * H
}

/** One SwiGLU D -> width -> D with random weights. */
export function randomFeedForward(
  D: number,
  width: number,
  numbers: RandomTensors,
  dtype: Dtype = 'float32',
): ExpertWeights {
  const held = (rows: number, columns: number) => {
    const weight = numbers.weights(rows, columns, columns)
    if (dtype === 'float32') return { weight, bias: null }
    const rounded = holdRounded(activeTensorflow(), weight, dtype)
    weight.dispose()
    return { weight: rounded, bias: null }
  }
  return { gateUp: held(2 * width, D), down: held(D, width) }
}

/** By the fastest ops that the device has, as the mixture's experts are run. */
export function applyFeedForward(x: tf.Tensor2D, weights: ExpertWeights): tf.Tensor2D {
  const { ops } = backend()
  return ops ? applyExpertTensorflow(x, weights, ops) : applyExpert(x, weights)
}

/** The same numbers at another place. */
export function copyFeedForward(weights: ExpertWeights): ExpertWeights {
  return mapLeaves<tf.Tensor>(weights, (tensor) => tf.mul(tensor, 1)) as ExpertWeights
}

/** All tensors in a tree of weights, in the same order for trees alike. */
export function tensorsOf(weights: object): tf.Tensor[] {
  const byPath = sort(leaves<tf.Tensor>(weights), ([one], [other]) => ascending(one, other))
  return byPath.map(([, tensor]) => tensor)
}
