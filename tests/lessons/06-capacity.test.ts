import { expect } from 'vitest'
import { softmaxTopK } from '../../src/model/config.ts'
import { expertCapacity } from '../../src/model/router/capacity.ts'
import { interventionFor } from '../../src/model/router/interventions.ts'
import { finishRouting, stepRouter } from '../../src/model/router/route.ts'
import type { CapacityPolicy, Routing } from '../../src/model/router/types.ts'
import { maxDifference } from '../helpers/golden.ts'
import { HIDDEN, ROUTER_WEIGHT } from './cast.ts'
import { lesson, show, table } from './lesson.ts'

const E = 3
const K = 2
const config = softmaxTopK(E, K)

/** The decision for A, B and C of lesson 2 under a capacity factor. */
function decide(factor: number, policy: CapacityPolicy): Routing {
  const intervention = interventionFor({ capacity: { factor, policy } }, config, 0)
  const layer = { config, weight: ROUTER_WEIGHT, bias: null, scoreBias: null }
  return finishRouting(stepRouter(HIDDEN, layer, { intervention }))
}

lesson('6. Capacity', (tell) => {
  // Seats: 3 tokens with 2 choices over 3 experts are 2 an expert when balanced; the factor stretches that.
  expect([0.5, 1, 1.5].map((factor) => expertCapacity(factor, 3, K, E))).toEqual([1, 2, 3])
  tell(
    'Where many machines share the experts, each expert has a fixed number of seats for a batch: factor · T · K / E, rounded up. ' +
      'For our three tokens with two choices each over three experts, factor 1 is 2 seats, 0.5 is 1 seat and 1.5 is 3 seats.',
  )

  // Who sits first: all first choices in the order of the tokens, then all second choices.
  // A: 2 then 1; B: 1 then 2; C: 1 then 0. Factor 1: A takes 2, B takes 1, C takes 1; then A finds 1 full.
  const one = decide(1, 'drop')
  expect([...one.expertIndices]).toEqual([2, -1, 1, 2, 1, 0])
  expect(maxDifference(one.expertWeights, [2 / 3, 0, 1 / 2, 1 / 2, 2 / 3, 1 / 3])).toBeLessThan(1e-6)
  tell(
    'First choices are seated before second choices. With 2 seats: A sits at expert 2, B at 1, C at 1. Expert 1 is full now. Then the ' +
      'second choices: A wanted expert 1 and is **dropped** there; B sits at 2, C at 0. A keeps only 2/3 of its update, since the weight of a ' +
      'dropped choice is lost and the others stay as they are.',
  )

  // One seat each: A takes 2, B takes 1, C finds 1 full; A and B find 1 and 2 full; C takes 0. Half is lost.
  const half = decide(0.5, 'drop')
  expect([...half.expertIndices]).toEqual([2, -1, 1, -1, -1, 0])
  // Three seats: enough for the three tokens that expert 1 wants.
  const more = decide(1.5, 'drop')
  expect([...more.expertIndices]).toEqual([2, 1, 1, 2, 1, 0])
  const lost = ({ expertIndices }: Routing) => expertIndices.filter((e) => e < 0).length
  expect([half, one, more].map(lost)).toEqual([3, 1, 0])
  tell(
    table(
      ['factor', 'seats an expert', 'A', 'B', 'C', 'dropped of 6'],
      [half, one, more].map((routing, i) => {
        const factor = [0.5, 1, 1.5][i]
        const seat = (t: number) =>
          Array.from(routing.expertIndices.slice(t * K, t * K + K), (e) =>
            e < 0 ? 'dropped' : String(e),
          ).join(', ')
        return [factor, expertCapacity(factor, 3, K, E), seat(0), seat(1), seat(2), lost(routing)]
      }),
    ),
  )

  // Another policy: sit at the best expert that has room. A's second choice moves from 1 to 0, with its weight.
  const moved = decide(1, 'next-best')
  expect([...moved.expertIndices]).toEqual([2, 0, 1, 2, 1, 0])
  expect(maxDifference(moved.expertWeights.slice(0, 2), [2 / 3, 1 / 3])).toBeLessThan(1e-6)
  expect([...moved.tokensPerExpert]).toEqual([2, 2, 2])
  tell(
    `With the policy \`next-best\` A's second choice moves to expert 0, the best with room, and takes its weight 1/3 along. Now every ` +
      `expert has its ${show(moved.tokensPerExpert[0])} tokens, but A is answered by an expert that it did not choose.`,
  )
  tell(
    'An engine on one machine needs no seats: this one drops nothing unless it is asked to (`tinymoe trace --analyse`).',
  )
})
