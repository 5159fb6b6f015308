import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { type RouterConfig, softmaxTopK } from '../../src/model/config.ts'
import { interventionFor } from '../../src/model/router/interventions.ts'
import { route } from '../../src/model/router/route.ts'
import type { Interventions } from '../../src/model/router/types.ts'
import { type LayerTrace, TraceRecorder } from '../../src/model/trace.ts'

beforeAll(async () => {
  await startRuntime({ device: 'js' })
})

/** What is recorded of one token with these logits. */
function recorded(logits: number[], config: RouterConfig, interventions: Interventions = {}): LayerTrace {
  const rows = [{ sequence: 0, position: 0, token: 7 }]
  const context = { place: { layer: 2, rows }, intervention: interventionFor(interventions, config, 2) }
  const recorder = new TraceRecorder(Int32Array.of(0), rows, {})
  const routing = route(Float32Array.from(logits), config, context)
  tf.tidy(() => recorder.routing(tf.tensor2d([logits]), routing, { config, scoreBias: null }, context))
  return recorder.trace.layers[0]
}

/** Scores 1/2, 1/4, 1/8, 1/8. */
const HALVES = [3, 2, 1, 1].map((n) => n * Math.LN2)

test('margin: the worst chosen less the best not chosen, in what experts are compared by', () => {
  expect(recorded(HALVES, softmaxTopK(4, 1)).margins[0]).toBeCloseTo(1 / 2 - 1 / 4, 6)
  expect(recorded(HALVES, softmaxTopK(4, 2)).margins[0]).toBeCloseTo(1 / 4 - 1 / 8, 6)
  expect(recorded(HALVES, softmaxTopK(4, 3)).margins[0]).toBeCloseTo(0, 6)
  // a bias is part of the comparison: 1/2, 1/4, 1/8 + 1/2, 1/8
  const biased = recorded(HALVES, softmaxTopK(4, 2), { bias: [{ expert: 2, value: 0.5 }] })
  expect(biased.margins[0]).toBeCloseTo(1 / 2 - 1 / 4, 6)
})

test('there is no margin where all are chosen, or all that may be', () => {
  expect(recorded(HALVES, softmaxTopK(4, 4)).margins).toEqual([null])
  const disable = [0, 1].map((expert) => ({ expert }))
  expect(recorded(HALVES, softmaxTopK(4, 2), { disable }).margins).toEqual([null])
})

test('entropy of the scores as shares, in nats', () => {
  const byHand = Math.LN2 * (1 / 2 + 2 / 4 + 3 / 8 + 3 / 8)
  expect(recorded(HALVES, softmaxTopK(4, 1)).entropies[0]).toBeCloseTo(byHand, 6)
  expect(recorded([1, 1, 1, 1], softmaxTopK(4, 1)).entropies[0]).toBeCloseTo(Math.log(4), 6)
  // sigmoid scores 1/2 each are divided by their sum; logits that are not scored count by their softmax
  const sigmoid: RouterConfig = { ...softmaxTopK(4, 1), scoring: 'sigmoid' }
  expect(recorded([0, 0, 0, 0], sigmoid).entropies[0]).toBeCloseTo(Math.log(4), 6)
  const unscored: RouterConfig = { ...softmaxTopK(4, 1), scoring: 'none', weighting: 'softmax-of-chosen' }
  expect(recorded(HALVES, unscored).entropies[0]).toBeCloseTo(byHand, 6)
})

test('a router that is sure has entropy 0, not minus 0', () => {
  expect(recorded([200, 0, 0], softmaxTopK(3, 1)).entropies[0]).toBe(0)
  expect(recorded([5], softmaxTopK(1, 1)).entropies[0]).toBe(0)
})
