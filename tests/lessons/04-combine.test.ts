import * as tf from '@tensorflow/tfjs-core'
import { expect } from 'vitest'
import { softmaxTopK } from '../../src/model/config.ts'
import { combine } from '../../src/model/dispatch/combine.ts'
import { applyExpert } from '../../src/model/experts.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { maxDifference } from '../helpers/golden.ts'
import type { ReferenceExpert } from '../helpers/reference.ts'
import { moeWeights, NAMES, TOKENS } from './cast.ts'
import { lesson, show, table } from './lesson.ts'

const LN3 = Math.log(3)

/**
 * An expert that answers the same to A, B and C, whose first number is 1. It computes down(silu(gate) x up) with
 * silu(z) = z / (1 + exp(-z)): gate = ln 3 gives 3/4 ln 3, up = 4 / (3 ln 3), their product is 1, and down is the answer.
 */
function expertThatAnswers(answer: number[]): ReferenceExpert {
  return { gate: [[LN3], [0]], up: [[4 / (3 * LN3)], [0]], down: [answer] }
}

const ANSWERS = [
  [3, 3],
  [0, 3],
  [3, 0],
]

lesson('4. Combine', (tell) => {
  const weights = moeWeights(ANSWERS.map(expertThatAnswers))
  const x = tf.tensor2d(TOKENS)

  // Three experts with one answer each.
  weights.experts.forEach((expert, e) => {
    const answers = applyExpert(x, expert).dataSync()
    expect(maxDifference(answers, [...ANSWERS[e], ...ANSWERS[e], ...ANSWERS[e]])).toBeLessThan(1e-5)
  })
  tell(
    'An expert is a small feed-forward network. Here each is built to give one answer to every token, so that only the ' +
      'mixing is left to see: expert 0 answers (3, 3), expert 1 (0, 3), expert 2 (3, 0).',
  )

  // Token A has weight 2/3 on expert 2 and 1/3 on expert 1: 2/3 (3, 0) + 1/3 (0, 3) = (2, 1).
  const answersForA = tf.tensor2d([ANSWERS[2], ANSWERS[1]])
  const a = combine(answersForA, tf.tensor2d([[2 / 3, 1 / 3]])).dataSync()
  expect(maxDifference(a, [2, 1])).toBeLessThan(1e-6)
  tell(
    "A token's result is the sum of its experts' answers, each times its weight. A has expert 2 at 2/3 and expert 1 at 1/3: " +
      '2/3 · (3, 0) + 1/3 · (0, 3) = (2, 1).',
  )

  // The whole layer, from hidden states to results, each way that the engine can run it.
  const config = { kind: 'moe' as const, intermediateSize: 1, router: softmaxTopK(3, 2) }
  const results = DISPATCHES.map((name) =>
    routeAndDispatch(x, linear(x, weights.router), weights, config, name).output.dataSync(),
  )
  const byHand = [2, 1, 1.5, 1.5, 1, 3]
  for (const result of results) expect(maxDifference(result, byHand)).toBeLessThan(1e-5)
  tell(
    table(
      ['token', 'experts and weights', 'by hand', 'result'],
      [
        ['2/3 of expert 2, 1/3 of expert 1', '2/3 · (3, 0) + 1/3 · (0, 3)'],
        ['1/2 of expert 1, 1/2 of expert 2', '1/2 · (0, 3) + 1/2 · (3, 0)'],
        ['2/3 of expert 1, 1/3 of expert 0', '2/3 · (0, 3) + 1/3 · (3, 3)'],
      ].map((cells, t) => [NAMES[t], ...cells, `(${show(results[0].slice(t * 2, t * 2 + 2))})`]),
    ),
  )
  tell(
    'Dense, sparse and gather dispatch (lesson 3) all give these numbers: they are three ways to do one sum. ' +
      'The result is then added to what the token was before (the residual).',
  )
})
