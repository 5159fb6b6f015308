import { expect } from 'vitest'
import { softmaxTopK } from '../../src/model/config.ts'
import { stepRouter } from '../../src/model/router/route.ts'
import type { RouterStep } from '../../src/model/router/types.ts'
import { maxDifference } from '../helpers/golden.ts'
import { HIDDEN, NAMES, ROUTER_WEIGHT, TOKENS } from './cast.ts'
import { lesson, show, table } from './lesson.ts'

lesson('1. Router scores', (tell) => {
  // Three tokens reach the router, each as D = 2 numbers.
  expect([...HIDDEN]).toEqual([1, 2, 1, 1, 1, 0])
  tell(
    'Three tokens reach a router, each as a hidden state of D = 2 numbers: A = (1, 2), B = (1, 1), C = (1, 0). ' +
      'The router has one vector for each of its E = 3 experts: (0, 0), (ln 2, 0) and (0, ln 2).',
  )

  // The router is a chain of steps; the engine hands out each with its inputs, its outputs and a sentence.
  const layer = { config: softmaxTopK(3, 2), weight: ROUTER_WEIGHT, bias: null, scoreBias: null }
  const steps = new Map<string, RouterStep>()
  for (const step of stepRouter(HIDDEN, layer)) {
    // biome-ignore lint/suspicious/noDebugger: an editor ships no breakpoints; .vscode/launch.json pauses here, once a step
    debugger
    steps.set(step.name, step)
  }
  expect([...steps.keys()]).toEqual([
    'logits',
    'scores',
    'choosing-bias',
    'group-limit',
    'top-k',
    'renormalise',
    'scale',
    'capacity',
  ])

  // First the logits: each token's dot product with each expert's vector. A: 1 ln 2 + 2 x 0 for expert 1, 2 ln 2 for 2.
  const logits = steps.get('logits')!.outputs.routerLogits
  const ln2 = Math.LN2
  expect(logits.shape).toEqual([3, 3])
  expect(maxDifference(logits.data, [0, ln2, 2 * ln2, 0, ln2, ln2, 0, ln2, 0])).toBeLessThan(1e-6)
  tell(
    "**Logits.** A token's logit for an expert is the dot product of their vectors: it is large where they point the same way. " +
      'For token A they are 0, 1 · ln 2 and 2 · ln 2.',
  )

  // Then softmax: exp of each logit (powers of two here), divided by their sum.
  const scores = steps.get('scores')!.outputs.scores
  const sevenths = [1 / 7, 2 / 7, 4 / 7] // exp: 1, 2, 4
  const fifths = [1 / 5, 2 / 5, 2 / 5] // exp: 1, 2, 2
  const quarters = [1 / 4, 2 / 4, 1 / 4] // exp: 1, 2, 1
  expect(maxDifference(scores.data, [...sevenths, ...fifths, ...quarters])).toBeLessThan(1e-6)
  const row = (values: ArrayLike<number>, t: number) => show(Array.from(values).slice(t * 3, t * 3 + 3))
  tell(
    '**Scores.** Softmax takes exp of each logit and divides by the sum. exp(ln 2) = 2, so A has 1 : 2 : 4, which are sevenths; ' +
      'B has 1 : 2 : 2, fifths; C has 1 : 2 : 1, quarters.',
  )
  tell(
    table(
      ['token', 'hidden state', 'logits z = x Wr', 'scores s = softmax(z)'],
      TOKENS.map((token, t) => [NAMES[t], show(token), row(logits.data, t), row(scores.data, t)]),
    ),
  )

  // Scores are shares of one: what one expert gains the others lose.
  for (const t of [0, 1, 2]) {
    const [s0, s1, s2] = scores.data.slice(t * 3, t * 3 + 3)
    expect(s0 + s1 + s2).toBeCloseTo(1, 6)
  }
  tell(
    "Each token's scores sum to 1: experts compete for it. What follows is what the engine says of its own steps.",
  )
  tell(
    table(
      ['step', 'formula', 'what happens'],
      [...steps.values()].map((s) => [s.name, s.applies ? `\`${s.formula}\`` : '(passed over)', s.sentence]),
    ),
  )
})
