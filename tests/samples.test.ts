import { describe, expect, test } from 'vitest'
import { quantile, ratioInterval, summarize } from '../src/samples.ts'
import { randomNumbers } from './helpers/random.ts'

describe('quantile', () => {
  // numpy.quantile([1, 2, 3, 4], q)
  test.each([
    [0, 1],
    [0.1, 1.3],
    [0.5, 2.5],
    [0.9, 3.7],
    [1, 4],
  ])('of [1, 2, 3, 4] at %f is numpy.quantile', (q, expected) => {
    expect(quantile([4, 1, 3, 2], q)).toBeCloseTo(expected, 12)
  })

  test('sorts by value, not by text, and leaves its input alone', () => {
    const samples = [10, 9, 100]
    expect(quantile(samples, 0.5)).toBe(10)
    expect(samples).toEqual([10, 9, 100])
  })

  test('of nothing is an error', () => {
    expect(() => quantile([], 0.5)).toThrow('no samples')
  })
})

describe('a summary', () => {
  test('of one sample is that sample', () => {
    expect(summarize([7])).toEqual({ n: 1, medianMs: 7, p10Ms: 7, p90Ms: 7, p99Ms: 7, outliers: 0 })
  })

  test('counts what is further than three interquartile ranges outside the quartiles, and keeps it', () => {
    // Quartiles of 1..9 are 3 and 7, so the fences stand at -9 and 19.
    const nine = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    expect(summarize(nine).outliers).toBe(0)
    const { n, outliers, p99Ms } = summarize([...nine, 18, 100])
    expect([n, outliers]).toEqual([11, 1])
    expect(p99Ms).toBeGreaterThan(90)
  })
})

describe('the interval of a ratio', () => {
  const next = randomNumbers(5)
  const noisy = (n: number, around: number, spread: number) =>
    Array.from({ length: n }, () => around + spread * next())

  test('is the ratio itself where every round has the same, whatever disturbed the rounds', () => {
    const dense = noisy(30, 100, 90)
    const sparse = dense.map((ms) => ms / 4)
    const { low, high } = ratioInterval(dense, sparse, 1)!
    expect(low).toBeCloseTo(4, 9)
    expect(high).toBeCloseTo(4, 9)
  })

  test('holds the true ratio about 95 times in 100', () => {
    const hits = Array.from({ length: 100 }, (_, seed) => {
      const { low, high } = ratioInterval(noisy(40, 30, 6), noisy(40, 10, 2), seed)!
      return low <= 3 && high >= 3
    }).filter(Boolean)
    expect(hits.length).toBeGreaterThanOrEqual(88)
  })

  test('is wider for fewer rounds, and none for fewer than five', () => {
    const width = (n: number) => {
      const { low, high } = ratioInterval(noisy(n, 30, 6), noisy(n, 10, 2), 1)!
      return high - low
    }
    expect(width(8)).toBeGreaterThan(width(200))
    expect(ratioInterval([1, 2, 3, 4], [1, 2, 3, 4], 1)).toBeNull()
  })

  test('is the same for the same seed', () => {
    const [a, b] = [noisy(9, 30, 6), noisy(9, 10, 2)]
    expect(ratioInterval(a, b, 7)).toEqual(ratioInterval(a, b, 7))
  })
})
