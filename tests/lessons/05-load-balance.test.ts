import { expect } from 'vitest'
import { softmaxTopK } from '../../src/model/config.ts'
import { loadBalanceLoss, maxViolation, utilisation } from '../../src/trace/statistics.ts'
import { record } from './cast.ts'
import { lesson, show, table } from './lesson.ts'

const LN3 = Math.log(3)

lesson('5. Load balance', (tell) => {
  // Two experts, one a token. Logits ln 3 and 0 are scores 3/4 and 1/4.
  const router = { config: softmaxTopK(2, 1) }
  const toFirst = [LN3, 0]
  const toSecond = [0, LN3]
  tell(
    'Two experts, K = 1, four tokens. A token with logits (ln 3, 0) has scores 3/4 and 1/4 and goes to expert 0; one with ' +
      '(0, ln 3) goes to expert 1. Is the work spread evenly?',
  )

  // Two tokens each way: both experts get half of the tokens and half of the score.
  const balanced = record([toFirst, toSecond, toFirst, toSecond], router)
  expect([...balanced.tokensPerExpert]).toEqual([2, 2])
  expect(utilisation(balanced)).toEqual([0.5, 0.5])
  expect(loadBalanceLoss(balanced)).toBeCloseTo(2 * (0.5 * 0.5 + 0.5 * 0.5), 6) // = 1
  expect(maxViolation(balanced)).toBe(0)

  // Three to one: f = 3/4, 1/4; mean scores P = (3/4 + 3/4 + 3/4 + 1/4) / 4 = 5/8 and 3/8.
  const leaning = record([toFirst, toFirst, toFirst, toSecond], router)
  expect([...leaning.tokensPerExpert]).toEqual([3, 1])
  expect(loadBalanceLoss(leaning)).toBeCloseTo(2 * ((3 / 4) * (5 / 8) + (1 / 4) * (3 / 8)), 6) // = 1.125
  expect(maxViolation(leaning)).toBeCloseTo(0.5, 6) // 3 tokens against a mean of 2

  // All to one: f = 1, 0; P = 3/4, 1/4.
  const collapsed = record([toFirst, toFirst, toFirst, toFirst], router)
  expect([...collapsed.tokensPerExpert]).toEqual([4, 0])
  expect(loadBalanceLoss(collapsed)).toBeCloseTo(2 * (1 * (3 / 4)), 6) // = 1.5
  expect(maxViolation(collapsed)).toBe(1)

  // All to one, and the router sure of it: P = 1, 0, and the loss is E.
  const certain = record(
    [1, 2, 3, 4].map(() => [50, 0]),
    router,
  )
  expect(loadBalanceLoss(certain)).toBeCloseTo(2, 6)

  tell(
    'The load-balance loss is E · Σ f · P over the experts: f is the share of tokens an expert got, P its mean score. It is 1 when ' +
      'balanced and grows to E when one expert takes all and the router is sure of it. (Switch Transformers, Fedus et al. 2021; training adds ' +
      'a little of it to the loss.) ' +
      'The largest violation is how far the fullest expert is above the mean load.',
  )
  const row = (name: string, layer: typeof balanced, byHand: string) => [
    name,
    show(layer.tokensPerExpert),
    byHand,
    loadBalanceLoss(layer),
    maxViolation(layer),
  ]
  tell(
    table(
      ['tokens', 'tokens an expert', 'loss by hand', 'loss', 'largest violation'],
      [
        row('two each way', balanced, '2 · (1/2 · 1/2 + 1/2 · 1/2)'),
        row('three and one', leaning, '2 · (3/4 · 5/8 + 1/4 · 3/8)'),
        row('all to expert 0', collapsed, '2 · (1 · 3/4 + 0 · 1/4)'),
        row('all, with logits (50, 0)', certain, '2 · (1 · 1 + 0 · 0)'),
      ],
    ),
  )
  tell(
    'f jumps when a token changes its expert, P moves smoothly with the logits: P is what training can follow.',
  )
})
