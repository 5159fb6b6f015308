import { describe, expect, test } from 'vitest'
import { pooled, proportion } from '../../src/eval/proportion.ts'
import { ratioOfSums } from '../../src/eval/ratio.ts'
import { randomNumbers } from '../helpers/random.ts'

describe('Wilson interval', () => {
  // Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('%i of %i is %f to %f', (correct, total, low, high) => {
    const result = proportion(correct, total)
    expect(result.low).toBeCloseTo(low, 4)
    expect(result.high).toBeCloseTo(high, 4)
  })

  test('its ends are where the score test is just at 5 %', () => {
    for (const [correct, total] of [
      [3, 7],
      [50, 60],
      [199, 200],
    ]) {
      const { low, high } = proportion(correct, total)
      for (const p of [low, high]) {
        const z = Math.abs(correct / total - p) / Math.sqrt((p * (1 - p)) / total)
        expect(z).toBeCloseTo(1.959964, 6)
      }
    }
  })

  test('all right ends at 1, none at 0, nothing asked is anything', () => {
    expect(proportion(10, 10)).toEqual({ correct: 10, total: 10, low: expect.closeTo(0.7225, 4), high: 1 })
    expect(proportion(0, 10).low).toBe(0)
    expect(proportion(0, 0)).toEqual({ correct: 0, total: 0, low: 0, high: 1 })
  })

  test('counts that are pooled are those of one sample', () => {
    expect(pooled([proportion(3, 10), proportion(5, 20), proportion(0, 0)])).toEqual(proportion(8, 30))
    expect(pooled([])).toEqual(proportion(0, 0))
  })
})

describe('ratio of sums', () => {
  test('with equal weights is a mean and its standard error', () => {
    // mean 4, variance (4 + 0 + 4) / 2 = 4, standard error 2 / sqrt 3
    expect(ratioOfSums([2, 4, 6], [1, 1, 1])).toEqual({
      mean: 4,
      standardError: expect.closeTo(2 / Math.sqrt(3), 12),
    })
  })

  test('one document alone has no standard error', () => {
    expect(ratioOfSums([6], [4])).toEqual({ mean: 1.5, standardError: null })
  })

  test('the standard error is about the spread over samples of documents of any length', () => {
    const next = randomNumbers(5)
    const uniform = () => (next() + 1) / 2
    const results = Array.from({ length: 400 }, () => {
      const weights = Array.from({ length: 30 }, () => 1 + Math.floor(40 * uniform()))
      return ratioOfSums(
        weights.map((n) => n * (1 + uniform())), // a document is easy or hard as a whole
        weights,
      )
    })
    const mean = results.reduce((sum, r) => sum + r.mean, 0) / 400
    const spread = Math.sqrt(results.reduce((sum, r) => sum + (r.mean - mean) ** 2, 0) / 400)
    const error = results.reduce((sum, r) => sum + r.standardError!, 0) / 400
    expect(mean).toBeCloseTo(1.5, 1)
    expect(error / spread).toBeGreaterThan(0.88)
    expect(error / spread).toBeLessThan(1.12)
  })
})
