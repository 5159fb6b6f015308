import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InputError } from '../../src/errors.ts'
import { Xoshiro128 } from '../../src/generate/random.ts'
import {
  distribution,
  draw,
  mostLikely,
  nextToken,
  parseSampling,
  penalise,
} from '../../src/generate/sampler.ts'
import type { SamplingOptions } from '../../src/generate/types.ts'
import { argmax } from '../../src/model/most-likely.ts'

const on = (options: SamplingOptions) => parseSampling({ temperature: 1, ...options })

/** Logits on a coarse grid, so that ties are common. */
const someLogits = fc
  .array(fc.integer({ min: -20, max: 20 }), { minLength: 1, maxLength: 40 })
  .map((values) => Float32Array.from(values, (value) => value / 4))

const someSampling = fc.record({
  temperature: fc.double({ min: 0.05, max: 4, noNaN: true }),
  topK: fc.integer({ min: 0, max: 45 }),
  topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
  minP: fc.double({ min: 0, max: 1, noNaN: true }),
})

/**
 * The filters by their definition, one after the other, each with a softmax of its own, as transformers does in
 * generation/logits_process.py: TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, MinPLogitsWarper.
 */
function slowDistribution(
  logits: Float32Array,
  { temperature, topK, topP, minP }: Required<SamplingOptions>,
): number[] {
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b)
  let scores = Array.from(logits, (logit) => logit / temperature)
  const remove = (gone: (token: number) => boolean) => {
    scores = scores.map((score, token) => (gone(token) ? Number.NEGATIVE_INFINITY : score))
  }
  if (topK > 0) remove((token) => order.indexOf(token) >= topK)
  if (topP < 1) {
    const probabilities = softmax(scores)
    const before = (token: number) =>
      order.slice(0, order.indexOf(token)).reduce((sum, other) => sum + probabilities[other], 0)
    const gone = order.slice(1).filter((token) => before(token) >= topP)
    remove((token) => gone.includes(token))
  }
  const probabilities = softmax(scores)
  const best = Math.max(...probabilities)
  remove((token) => probabilities[token] < minP * best)
  return softmax(scores)
}

function softmax(scores: number[]): number[] {
  const best = Math.max(...scores)
  const exps = scores.map((score) => Math.exp(score - best))
  const total = exps.reduce((a, b) => a + b, 0)
  return exps.map((value) => value / total)
}

describe('distribution', () => {
  test('equals the filters by their definition', () => {
    fc.assert(
      fc.property(someLogits, someSampling, (logits, options) => {
        const sampling = on(options)
        const slow = slowDistribution(logits, sampling)
        // A sum that meets topP or minP to the last bit may fall either way; such a case says nothing.
        fc.pre(isClearCut(logits, sampling))
        distribution(logits, sampling).forEach((p, token) => {
          expect(p).toBeCloseTo(slow[token], 9)
        })
      }),
      { numRuns: 1000 },
    )
  })

  test('sums to 1 and never empties', () => {
    fc.assert(
      fc.property(someLogits, someSampling, (logits, options) => {
        const probabilities = distribution(logits, on(options))
        expect(probabilities.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12)
        expect(probabilities[argmax(logits)]).toBeGreaterThan(0)
      }),
    )
  })

  test('top-k keeps exactly k, the lower of equal ones', () => {
    fc.assert(
      fc.property(someLogits, fc.integer({ min: 1, max: 45 }), (logits, topK) => {
        const probabilities = distribution(logits, on({ topK }))
        expect(probabilities.filter((p) => p > 0).length).toBe(Math.min(topK, logits.length))
      }),
    )
    expect([...distribution(Float32Array.of(1, 2, 2, 2), on({ topK: 2 }))]).toEqual([0, 0.5, 0.5, 0])
  })

  test('top-p keeps the fewest that reach p', () => {
    const logits = Float32Array.from([0.1, 0.2, 0.3, 0.4], Math.log)
    const kept = (topP: number) =>
      [...distribution(logits, on({ topP })).keys()].filter((t) => distribution(logits, on({ topP }))[t] > 0)
    expect(kept(0.39)).toEqual([3])
    expect(kept(0.41)).toEqual([2, 3])
    expect(kept(0.69)).toEqual([2, 3])
    expect(kept(0.71)).toEqual([1, 2, 3])
    expect(kept(0.95)).toEqual([0, 1, 2, 3])
    expect(kept(1e-9)).toEqual([3])
  })

  test('min-p keeps what is at least that share of the best', () => {
    const logits = Float32Array.from([0.1, 0.25, 0.25, 0.4], Math.log)
    expect(Array.from(distribution(logits, on({ minP: 0.5 })), (p) => p > 0)).toEqual([
      false,
      true,
      true,
      true,
    ])
    expect([...distribution(logits, on({ minP: 1 }))]).toEqual([0, 0, 0, 1])
  })

  test('a tiny temperature is the most likely token, not a division by nothing', () => {
    expect([...distribution(Float32Array.of(1, 3, 2), on({ temperature: 1e-300 }))]).toEqual([0, 1, 0])
  })

  test('minus infinity is a token that cannot come', () => {
    const logits = Float32Array.of(0, Number.NEGATIVE_INFINITY, 0)
    expect([...distribution(logits, on({ topP: 0.9 }))]).toEqual([0.5, 0, 0.5])
  })
})

describe('penalise', () => {
  test('divides positive and multiplies negative logits of seen tokens, once each', () => {
    const logits = Float32Array.of(2, -2, 2, -2)
    expect([...penalise(logits, [0, 1, 1, 0], 2)]).toEqual([1, -4, 2, -2])
    expect([...logits]).toEqual([2, -2, 2, -2])
    expect([...penalise(logits, [0, 1], 0.5)]).toEqual([4, -1, 2, -2])
  })

  test('acts before the greedy choice too', () => {
    const sampling = parseSampling({ repetitionPenalty: 1.5 })
    expect(nextToken(Float32Array.of(3, 2.5), [0], sampling, Xoshiro128.fromSeed(0))).toBe(1)
  })
})

describe('nextToken', () => {
  test('at temperature 0 is the largest logit, the lower of equal ones', () => {
    fc.assert(
      fc.property(someLogits, (logits) => {
        const token = nextToken(logits, [], parseSampling({}), Xoshiro128.fromSeed(0))
        expect(token).toBe(logits.indexOf(Math.max(...logits)))
      }),
    )
  })

  test('top-k 1 is greedy at any temperature', () => {
    fc.assert(
      fc.property(someLogits, fc.nat(), (logits, seed) => {
        const token = nextToken(logits, [], on({ topK: 1, temperature: 3 }), Xoshiro128.fromSeed(seed))
        expect(token).toBe(argmax(logits))
      }),
    )
  })

  test('draws each token as often as its probability says', () => {
    const probabilities = [0.5, 0.2, 0, 0.3]
    const random = Xoshiro128.fromSeed(5)
    const counts = [0, 0, 0, 0]
    for (let n = 0; n < 20_000; n++) counts[draw(Float64Array.from(probabilities), random)]++
    probabilities.forEach((p, token) => {
      expect(Math.abs(counts[token] - 20_000 * p)).toBeLessThanOrEqual(5 * Math.sqrt(20_000 * p * (1 - p)))
    })
  })

  test('a rest left by rounding goes to the last possible token', () => {
    expect(draw(Float64Array.of(0.5, 0.4999, 0), { uniform: () => 0.99999 })).toBe(1)
  })

  test.each([
    [[1, Number.NaN], 'sampler: the logit of token 1 is NaN, expected a finite number'],
    [[Number.POSITIVE_INFINITY, 1], 'sampler: the logit of token 0 is Infinity, expected a finite number'],
    [[-Infinity, -Infinity], 'sampler: every logit is minus infinity, expected at least one finite number'],
  ])('refuses %j', (logits, message) => {
    const run = () => nextToken(Float32Array.from(logits), [], parseSampling({}), Xoshiro128.fromSeed(0))
    expect(run).toThrow(new InputError(message))
  })
})

test('mostLikely is a stable descending sort, cut', () => {
  fc.assert(
    fc.property(someLogits, fc.integer({ min: 1, max: 45 }), (logits, k) => {
      const sorted = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b)
      expect(mostLikely(logits, k)).toEqual(sorted.slice(0, k))
    }),
  )
})

describe('parseSampling', () => {
  test.each<[SamplingOptions, string]>([
    [{ temperature: -1 }, 'temperature: is -1, expected a number from 0'],
    [{ temperature: Number.NaN }, 'temperature: is NaN, expected a number from 0'],
    [{ topK: 1.5 }, 'topK: is 1.5, expected a whole number from 0 (0 is off)'],
    [{ topP: 0 }, 'topP: is 0, expected a number above 0 and up to 1'],
    [{ topP: 1.01 }, 'topP: is 1.01, expected a number above 0 and up to 1'],
    [{ minP: -0.1 }, 'minP: is -0.1, expected a number from 0 to 1'],
    [{ repetitionPenalty: 0 }, 'repetitionPenalty: is 0, expected a number above 0'],
    [{ seed: -1 }, 'seed: is -1, expected a whole number from 0 to 9007199254740991'],
  ])('refuses %j', (options, message) => {
    expect(() => parseSampling(options)).toThrow(new InputError(message))
  })
})

/** Whether no share of a filter is so near to its limit that float rounding decides. */
function isClearCut(
  logits: Float32Array,
  { temperature, topK, topP, minP }: Required<SamplingOptions>,
): boolean {
  const kept = mostLikely(logits, topK || logits.length).map((token) => logits[token] / temperature)
  const probabilities = softmax(kept)
  let sum = 0
  const sums = probabilities.map((p) => {
    sum += p
    return sum
  })
  const near = (a: number, b: number) => Math.abs(a - b) < 1e-9
  return !sums.some((s) => near(s, topP)) && !probabilities.some((p) => near(p / probabilities[0], minP))
}
