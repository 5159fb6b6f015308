import * as tf from '@tensorflow/tfjs-core'
import type { LayerDims, RoutingKind, RoutingSpread } from '../schema.ts'

/** What each kind of routing is for a layer with random weights. */
export const LAYER_ROUTING: Record<RoutingKind, string> = {
  uniform:
    'each expert gets the same number of assignments, within one: the router runs, and its logits are pushed',
  real: 'a random router on random rows, as uneven as chance has it',
  worst: 'every token goes to the same K experts: the router runs, and its logits are pushed',
}

/** Far above what a random router says, so that the pushed experts are chosen. */
const PUSH = 1000

/** What is added to the logits [T, E] of a router to make it choose in a given way; null to leave it alone. */
export function logitPush(kind: RoutingKind, T: number, { E, K }: LayerDims): tf.Tensor2D | null {
  if (kind === 'real') return null
  const push = new Float32Array(T * E)
  for (let t = 0; t < T; t++) {
    for (let j = 0; j < K; j++) push[t * E + (kind === 'worst' ? j : (t * K + j) % E)] = PUSH
  }
  return tf.tensor2d(push, [T, E])
}

/** tokensPerExpert [E] of each mixture layer. */
export function spreadOf(layers: Int32Array[]): RoutingSpread {
  const counts = layers.flatMap((tokensPerExpert) => [...tokensPerExpert])
  return {
    minTokens: Math.min(...counts),
    meanTokens: counts.reduce((a, b) => a + b, 0) / counts.length,
    maxTokens: Math.max(...counts),
    expertsTouched: layers.map((tokensPerExpert) => tokensPerExpert.filter((count) => count > 0).length),
  }
}
