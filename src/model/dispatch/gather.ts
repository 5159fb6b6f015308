import * as tf from '@tensorflow/tfjs-core'
import { applyExpert } from '../experts.ts'
import { type Routing, routingToTensors } from '../router.ts'
import type { ExpertWeights } from '../weights.ts'
import { combine } from './combine.ts'

/** For few tokens: one assignment at a time, so only the chosen experts' weights are touched and nothing is sorted. */
export function dispatchGather(x: tf.Tensor2D, experts: ExpertWeights[], routing: Routing): tf.Tensor2D {
  return tf.tidy(() => {
    const [T] = x.shape
    const K = routing.expertIndices.length / T
    const rows = T === 1 ? [x] : tf.split<tf.Tensor2D>(x, T, 0)
    const outputs = Array.from(routing.expertIndices, (e, i) =>
      applyExpert(rows[Math.floor(i / K)], experts[e]),
    )
    return combine(tf.concat(outputs, 0), routingToTensors(routing, K).expertWeights)
  })
}
