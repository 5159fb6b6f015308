import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../src/backend/backend.ts'
import { applyExpert, applyExpertTensorflow } from '../../src/model/experts.ts'
import type { ExpertWeights } from '../../src/model/weights.ts'
import type { LayerDims, Twin } from '../schema.ts'
import type { RandomTensors } from './random-tensors.ts'

/** Width of the plain feed-forward that is as large as what one token uses of the mixture, or as all of it. */
export function twinWidth({ H, E, K }: Pick<LayerDims, 'H' | 'E' | 'K'>, twin: Twin): number {
  return (twin === 'twin-active' ? K : E) * H
}

/** One SwiGLU D -> width -> D with random weights. */
export function randomFeedForward(D: number, width: number, numbers: RandomTensors): ExpertWeights {
  return {
    gateUp: { weight: numbers.weights(2 * width, D, D), bias: null },
    down: { weight: numbers.weights(D, width, width), bias: null },
  }
}

/** By the fastest ops that the device has, as the mixture's experts are run. */
export function applyFeedForward(x: tf.Tensor2D, weights: ExpertWeights): tf.Tensor2D {
  const { ops } = backend()
  return ops ? applyExpertTensorflow(x, weights, ops) : applyExpert(x, weights)
}

export function disposeFeedForward({ gateUp, down }: ExpertWeights): void {
  tf.dispose([gateUp.weight, down.weight])
}
