import { expect } from 'vitest'
import { type RouterConfig, softmaxTopK } from '../../src/model/config.ts'
import { finishRouting, stepRouter } from '../../src/model/router/route.ts'
import type { Routing } from '../../src/model/router/types.ts'
import { maxDifference } from '../helpers/golden.ts'
import { HIDDEN, ROUTER_WEIGHT } from './cast.ts'
import { lesson, show, table } from './lesson.ts'

/** The engine's decision for the tokens A, B, C of lesson 1. */
function decide(config: RouterConfig): Routing {
  return finishRouting(stepRouter(HIDDEN, { config, weight: ROUTER_WEIGHT, bias: null, scoreBias: null }))
}

lesson('2. Top-k', (tell) => {
  // Scores from lesson 1: A 1/7 2/7 4/7, B 1/5 2/5 2/5, C 1/4 2/4 1/4. Each token takes its K = 2 best experts.
  const two = decide(softmaxTopK(3, 2))
  expect([...two.expertIndices]).toEqual([2, 1, 1, 2, 1, 0])
  tell(
    'The scores of lesson 1 were A: 1/7, 2/7, 4/7; B: 1/5, 2/5, 2/5; C: 1/4, 2/4, 1/4. Each token goes to its K = 2 best ' +
      `experts, the best first: A to ${show(two.expertIndices.slice(0, 2))}, B to ${show(two.expertIndices.slice(2, 4))}, ` +
      `C to ${show(two.expertIndices.slice(4, 6))}.`,
  )

  // Two ties: B's experts 1 and 2, and C's experts 0 and 2. The lower index wins, so that every backend routes alike.
  tell(
    '**Ties.** B likes experts 1 and 2 equally, C likes 0 and 2 equally. A tie goes to the lower index: so B has 1 before 2, ' +
      'and C takes 0 and not 2.',
  )

  // Weights: the scores of the chosen, divided by their sum. A: 4/7 and 2/7 become 4/6 and 2/6.
  expect(maxDifference(two.expertWeights, [4 / 6, 2 / 6, 1 / 2, 1 / 2, 2 / 3, 1 / 3])).toBeLessThan(1e-6)
  tell(
    '**Weights.** The scores of the chosen are divided by their sum: for A, 4/7 and 2/7 become 4/6 and 2/6.',
  )

  // Some models leave the scores as they are: it is a field of the router, not a habit.
  const raw = decide({ ...softmaxTopK(3, 2), weighting: 'scores' })
  expect([...raw.expertIndices]).toEqual([...two.expertIndices])
  expect(maxDifference(raw.expertWeights.slice(0, 2), [4 / 7, 2 / 7])).toBeLessThan(1e-6)
  tell(
    'Some published models do not divide (OLMoE for one): then A keeps 4/7 and 2/7, the same experts but together only 6/7.',
  )

  // The ends of the range: K = 1 gives everything to the best, K = E is the softmax itself.
  const one = decide(softmaxTopK(3, 1))
  expect([...one.expertIndices]).toEqual([2, 1, 1])
  expect([...one.expertWeights]).toEqual([1, 1, 1])
  const all = decide(softmaxTopK(3, 3))
  expect([...all.expertIndices.slice(0, 3)]).toEqual([2, 1, 0])
  expect(maxDifference(all.expertWeights.slice(0, 3), [4 / 7, 2 / 7, 1 / 7])).toBeLessThan(1e-6)
  tell(
    '**The ends.** With K = 1 the best expert counts in full; with K = E the weights are the scores. Token A:',
  )
  tell(
    table(
      ['K', 'experts of A', 'weights of A'],
      [one, two, all].map(({ expertIndices, expertWeights }, i) => [
        i + 1,
        show(expertIndices.slice(0, i + 1)),
        show(expertWeights.slice(0, i + 1)),
      ]),
    ),
  )
})
