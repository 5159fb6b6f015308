import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { type RouterConfig, softmaxTopK } from '../../src/model/config.ts'
import { interventionFor } from '../../src/model/router/interventions.ts'
import { route, stepRouter, stepsFromLogits } from '../../src/model/router/route.ts'
import { routeTensors, routingToHost } from '../../src/model/router/tensors.ts'
import type { RouterStep, Routing } from '../../src/model/router/types.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomNumbers } from '../helpers/random.ts'

/** Every way in which a published family routes (SPEC of the reference, section 4). */
const VARIANTS: Record<string, (E: number, K: number) => RouterConfig> = {
  'mixtral: softmax, top-k, renormalised': softmaxTopK,
  'olmoe: softmax, top-k, scores as they are': (E, K) => ({ ...softmaxTopK(E, K), weighting: 'scores' }),
  'granitemoe, gpt_oss: top-k, then softmax of the chosen': (E, K) => ({
    ...softmaxTopK(E, K),
    scoring: 'none',
    weighting: 'softmax-of-chosen',
  }),
  'deepseek_v2: softmax, group limit by the best, scaled': (E, K) => ({
    ...softmaxTopK(E, K),
    weighting: 'scores',
    scalingFactor: 2.5,
    groupLimit: { groups: 4, keep: 2, score: 'max' },
  }),
  'deepseek_v3, glm4_moe: sigmoid, group limit by two best, renormalised, scaled': (E, K) => ({
    ...softmaxTopK(E, K),
    scoring: 'sigmoid',
    normEpsilon: 1e-20,
    scalingFactor: 1.8,
    groupLimit: { groups: 4, keep: 2, score: 'sum-of-top-2' },
  }),
  'sigmoid, top-k, scores as they are': (E, K) => ({
    ...softmaxTopK(E, K),
    scoring: 'sigmoid',
    weighting: 'scores',
  }),
  'llama4: top-k, then a sigmoid of each, on the input': (E, K) => ({
    ...softmaxTopK(E, K),
    scoring: 'none',
    weighting: 'sigmoid-of-chosen',
    weighsInput: true,
  }),
  'phimoe: sparsemixer': (E, K) => ({
    ...softmaxTopK(E, K),
    scoring: 'none',
    weighting: 'sparsemixer',
    jitter: 0.3,
  }),
  'dbrx: divided by the norm of another order': (E, K) => ({ ...softmaxTopK(E, K), normOrder: 2 }),
}

const cases = Object.entries(VARIANTS)
const E = 12
/** Logits in -3..3, no two of a row closer than 0.1: closer ones may tie when a sigmoid near 1 is rounded to float32. */
const logitRows = (T: number, seed: number) => {
  const next = randomNumbers(seed)
  const row = () => {
    const order = Array.from({ length: E }, (_, e) => ({ e, key: next() })).sort((a, b) => a.key - b.key)
    return order.map(({ e }) => (e - (E - 1) / 2) / 2 + next() * 0.2)
  }
  return Float32Array.from(Array.from({ length: T }, row).flat())
}
const biasOf = (seed: number) => {
  const next = randomNumbers(seed + 77)
  return Float32Array.from({ length: E }, () => next() * 0.3)
}

describe.each(['cpu', 'wasm', 'js'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await startRuntime({ device })
  })

  test.each(cases)('the tensor form equals the steps: %s', (_, variant) => {
    const input = fc.record({
      T: fc.integer({ min: 1, max: 6 }),
      K: fc.integer({ min: 1, max: 6 }),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(input, fc.boolean(), ({ T, K, seed }, biased) => {
        const config = variant(E, K)
        const logits = logitRows(T, seed)
        const scoreBias = biased ? biasOf(seed) : null
        const tensors = onDevice(logits, config, scoreBias)
        const steps = route(logits, config, { scoreBias })
        expect([...tensors.expertIndices]).toEqual([...steps.expertIndices])
        expect(maxDifference(tensors.expertWeights, steps.expertWeights)).toBeLessThan(1e-6)
        expect([...tensors.tokensPerExpert]).toEqual([...steps.tokensPerExpert])
      }),
      { numRuns: 15 },
    )
  })

  test.each(cases)('top-1 and K=E: %s', (_, variant) => {
    for (const K of [1, E]) {
      const config = { ...variant(E, K), groupLimit: null }
      const logits = logitRows(4, K)
      const tensors = onDevice(logits, config, null)
      const steps = route(logits, config)
      expect([...tensors.expertIndices]).toEqual([...steps.expertIndices])
      expect(maxDifference(tensors.expertWeights, steps.expertWeights)).toBeLessThan(1e-6)
    }
  })

  test('ties go to the lower index', () => {
    const logits = Float32Array.from([1, 2, 2, 2, 0, 2, 1, 1, 1, 1, 1, 1])
    expect([...onDevice(logits, softmaxTopK(E, 3), null).expertIndices]).toEqual([1, 2, 3])
  })

  test.each(cases)('of logits with many ties the same are chosen as by the steps: %s', (_, variant) => {
    const input = fc.record({
      rows: fc.array(fc.array(fc.constantFrom(-1, 0.3, 0.7, 1.1), { minLength: E, maxLength: E }), {
        minLength: 1,
        maxLength: 5,
      }),
      K: fc.integer({ min: 1, max: 6 }),
    })
    fc.assert(
      fc.property(input, ({ rows, K }) => {
        const logits = Float32Array.from(rows.flat())
        const config = variant(E, K)
        const chosen = [...route(logits, config).expertIndices]
        expect([...onDevice(logits, config, null).expertIndices]).toEqual(chosen)
        if (config.groupLimit) return
        const byHand = rows.flatMap((z) =>
          z
            .map((_, e) => e)
            .sort((a, b) => z[b] - z[a] || a - b)
            .slice(0, K),
        )
        expect(chosen).toEqual(byHand)
      }),
      { numRuns: 30 },
    )
  })

  test.each([3, 5, 8, 12, 24, 60, 64])(
    'E = %i: equal logits get equal weights, and the first experts win',
    (E) => {
      for (const scoring of ['softmax', 'sigmoid'] as const) {
        for (let i = 1; i <= 40; i++) {
          const logits = new Float32Array(3 * E).fill(0.13 * i - 2)
          for (let t = 0; t < 3; t++) logits[t * E] -= 1
          const { expertIndices, expertWeights } = onDevice(logits, { ...softmaxTopK(E, 2), scoring }, null)
          expect([...expertIndices]).toEqual([1, 2, 1, 2, 1, 2])
          expect([...expertWeights]).toEqual(new Array(6).fill(0.5))
        }
      }
    },
  )
})

describe.each(cases)('properties of the steps: %s', (_, variant) => {
  const input = fc.record({
    T: fc.integer({ min: 1, max: 5 }),
    K: fc.integer({ min: 1, max: 6 }),
    seed: fc.nat(),
  })

  test('K distinct experts, weights not negative and summing as configured', () => {
    fc.assert(
      fc.property(input, ({ T, K, seed }) => {
        const config = variant(E, K)
        const logits = logitRows(T, seed)
        const { expertIndices, expertWeights, tokensPerExpert } = route(logits, config)
        expect(tokensPerExpert.reduce((a, b) => a + b, 0)).toBe(T * K)
        for (let t = 0; t < T; t++) {
          const chosen = [...expertIndices.subarray(t * K, (t + 1) * K)]
          const weights = [...expertWeights.subarray(t * K, (t + 1) * K)]
          expect(new Set(chosen).size).toBe(K)
          for (const w of weights) expect(w).toBeGreaterThanOrEqual(0)
          const sum = weights.reduce((a, b) => a + b, 0)
          if (config.weighting === 'scores' && config.scoring === 'softmax') {
            expect(sum).toBeLessThanOrEqual(config.scalingFactor * (1 + 1e-6))
          } else if (config.weighting === 'normalized') {
            const order = config.normOrder ?? 1
            const norm = weights.reduce((all, w) => all + w ** order, 0) ** (1 / order)
            expect(norm).toBeCloseTo(config.scalingFactor, 5)
          } else if (config.weighting === 'softmax-of-chosen')
            expect(sum).toBeCloseTo(config.scalingFactor, 5)
          else expect(Math.max(...weights)).toBeLessThanOrEqual(Math.max(1, config.scalingFactor))
        }
      }),
    )
  })

  test('permuting experts permutes the routing', () => {
    fc.assert(
      fc.property(
        input,
        fc.shuffledSubarray([...Array(E).keys()], { minLength: E }),
        ({ T, K, seed }, order) => {
          const config = { ...variant(E, K), groupLimit: null }
          const logits = logitRows(T, seed)
          const permuted = logits.map((_, i) => logits[Math.floor(i / E) * E + order[i % E]])
          const plain = route(logits, config)
          const moved = route(permuted, config)
          expect([...moved.expertIndices].map((e) => order[e])).toEqual([...plain.expertIndices])
          expect(maxDifference(moved.expertWeights, plain.expertWeights)).toBeLessThan(1e-6)
        },
      ),
    )
  })
})

test('group limit: experts outside the kept groups are never chosen, the groups kept are the best', () => {
  const config = VARIANTS['deepseek_v2: softmax, group limit by the best, scaled'](8, 2)
  // Groups {0,1} {2,3} {4,5} {6,7}; bests 5, 4, 3, 1: groups 0 and 1 stay, so expert 4 (logit 3) is out.
  const { expertIndices } = route(Float32Array.from([5, -9, 4, 3.5, 3, 0, 1, 1]), config)
  expect([...expertIndices]).toEqual([0, 2])
  // By the sum of two (sigmoid) the pair {2,3} and the pair {4,5} beat the lone 5.
  const v3 = VARIANTS['deepseek_v3, glm4_moe: sigmoid, group limit by two best, renormalised, scaled'](8, 2)
  expect([...route(Float32Array.from([5, -9, 4, 3.5, 3, 2, -9, -9]), v3).expertIndices]).toEqual([2, 3])
})

test('a choosing bias changes who is chosen and not how the chosen are weighed', () => {
  const config: RouterConfig = { ...softmaxTopK(3, 1), scoring: 'sigmoid', weighting: 'scores' }
  const { expertIndices, expertWeights } = route(Float32Array.from([1, 0, 0]), config, {
    scoreBias: Float32Array.from([0, 0, 0.5]),
  })
  expect([...expertIndices]).toEqual([2])
  expect(expertWeights[0]).toBeCloseTo(0.5, 6) // sigmoid(0), the bias left out
})

test('the choosing bias is shown as it goes in, the layer and the intervention together', () => {
  const config = softmaxTopK(3, 1)
  const intervention = interventionFor({ bias: [{ expert: 1, value: 2 }] }, config, 0)
  const scoreBias = Float32Array.of(0.5, 0.25, 0)
  const steps = [...stepsFromLogits(Float32Array.of(1, 0, 0, 0, 0, 1), config, { scoreBias, intervention })]
  const step = steps.find(({ name }) => name === 'choosing-bias')!
  expect(step.inputs.choosingBias).toEqual({ shape: [3], data: Float32Array.of(0.5, 2.25, 0) })
})

test('stepRouter starts from hidden states, names every step, and returns what route returns', () => {
  const next = randomNumbers(9)
  const numbers = (n: number) => Float32Array.from({ length: n }, () => next())
  const layer = { config: softmaxTopK(4, 2), weight: numbers(3 * 4), bias: numbers(4), scoreBias: null }
  const hidden = numbers(2 * 3)
  const steps: RouterStep[] = []
  const run = stepRouter(hidden, layer)
  let step = run.next()
  for (; !step.done; step = run.next()) steps.push(step.value)
  expect(steps.map((s) => s.name)).toEqual([
    'logits',
    'scores',
    'choosing-bias',
    'group-limit',
    'top-k',
    'renormalise',
    'scale',
    'capacity',
  ])
  expect(steps.filter((s) => s.applies).map((s) => s.name)).toEqual([
    'logits',
    'scores',
    'top-k',
    'renormalise',
  ])
  for (const s of steps) expect(s.formula.length * s.sentence.length).toBeGreaterThan(0)
  const [logits, scores] = steps
  expect(logits.outputs.routerLogits.shape).toEqual([2, 4])
  const z01 = layer.bias[1] + [0, 1, 2].reduce((sum, d) => sum + hidden[d] * layer.weight[d * 4 + 1], 0)
  expect(logits.outputs.routerLogits.data[1]).toBeCloseTo(z01, 6)
  expect([...scores.outputs.scores.data].slice(0, 4).reduce((a, b) => a + b)).toBeCloseTo(1, 6)
  expect(step.value).toEqual(route(logits.outputs.routerLogits.data as Float32Array, layer.config))
})

test.each([
  [0, 'renormalise', 'w = s[indices] / sum(s[indices])', 'so that the weights sum to one'],
  [1, 'renormalise', 'w = s[indices]', 'so they sum to one at most'],
  [2, 'renormalise', 'w = softmax(z[indices])', 'weights that sum to one'],
  [3, 'group-limit', 'c = -inf outside the best 2 of 4 groups', 'a group counts by its best expert'],
  [4, 'renormalise', 'w = s[indices] / (sum(s[indices]) + 1e-20)', 'so that the weights sum to one'],
  [4, 'group-limit', 'c = -inf outside the best 2 of 4 groups', 'a group counts by the sum of its two best'],
  [5, 'renormalise', 'w = s[indices]', 'whatever they sum to'],
  [6, 'scores', 's = z', 'by their logits as they are'],
  [6, 'renormalise', 'w = 1 / (1 + exp(-z[indices]))', 'multiply what the experts are given'],
  [
    7,
    'renormalise',
    'w = exp(z - M) / sum(exp(z[near] - M)), M = max(z), near: (M - z) / max(|z|, M) <= 0.6',
    'of those not chosen before',
  ],
  [8, 'renormalise', 'w = s[indices] / norm(s[indices], 2)', 'norm of order 2'],
])('variant %i says of %s what it does: %s', (variant, name, formula, sentence) => {
  const steps = [...stepsFromLogits(logitRows(2, 1), cases[variant][1](E, 2))]
  const step = steps.find((s) => s.name === name)!
  expect(step.formula).toBe(formula)
  expect(step.sentence).toContain(sentence)
})

test('sparsemixer by hand: two winners, each among those near it, the first out of the second', () => {
  const config = VARIANTS['phimoe: sparsemixer'](5, 2)
  const z = [2, 1.5, 1, 0.2, -1]
  const { expertIndices, expertWeights } = route(Float32Array.from(z), config)
  expect([...expertIndices]).toEqual([0, 1])
  // Of 2 near are 1.5 (0.25) and 1 (0.5), not 0.2 (0.9); of 1.5 is 1 (0.33), not 0.2 (0.87).
  expect(expertWeights[0]).toBeCloseTo(1 / (1 + Math.exp(-0.5) + Math.exp(-1)), 6)
  expect(expertWeights[1]).toBeCloseTo(1 / (1 + Math.exp(-0.5)), 6)
  // Below zero what is furthest from the best is measured by itself.
  const below = route(Float32Array.from([-1, -1.5, -4, -9, -9]), config)
  expect(below.expertWeights[0]).toBeCloseTo(1 / (1 + Math.exp(-0.5)), 6) // 0.5 / 1.5 is near, 3 / 4 is not
})

test('a router of another form is refused by name', () => {
  const broken = { ...softmaxTopK(4, 2), weighting: 'sparsemixer' as const, jitter: -1 }
  expect(() => route(new Float32Array(4), broken)).toThrow('jitter: is -1, expected a number from 0')
  const order = { ...softmaxTopK(4, 2), normOrder: 0 }
  expect(() => route(new Float32Array(4), order)).toThrow('normOrder: is 0, expected a number above 0')
})

test('steps hand out values that later steps do not change', () => {
  const steps = [...stepsFromLogits(logitRows(3, 5), VARIANTS[cases[4][0]](E, 2), { scoreBias: biasOf(3) })]
  const copies = steps.map((s) => JSON.stringify(s))
  for (const s of steps) s.sentence.slice()
  expect(steps.map((s) => JSON.stringify(s))).toEqual(copies)
  const compared = steps.find((s) => s.name === 'choosing-bias')!.outputs.compared.data
  expect([...compared].every(Number.isFinite)).toBe(true) // the group limit that follows put its -inf elsewhere
})

test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
  'a logit of %d is an error with its place',
  (bad) => {
    const logits = Float32Array.from([1, 2, 3, 4, bad, 6])
    const rows = [
      { sequence: 0, position: 5 },
      { sequence: 2, position: 7 },
    ]
    const routing = () => route(logits, softmaxTopK(3, 1), { place: { layer: 4, rows } })
    expect(routing).toThrow(
      `router of layer 4: token 7 of sequence 2 has logit ${bad} for expert 1, expected a finite number`,
    )
  },
)

function onDevice(logits: Float32Array, config: RouterConfig, scoreBias: Float32Array | null): Routing {
  const E = config.numExperts
  const before = tf.memory().numTensors
  const input = tf.tensor2d(logits, [logits.length / E, E])
  const tensors = routeTensors(input, { config, scoreBias })
  const routing = routingToHost(tensors, E)
  tf.dispose([input, tensors.expertIndices, tensors.expertWeights])
  expect(tf.memory().numTensors).toBe(before)
  return routing
}
