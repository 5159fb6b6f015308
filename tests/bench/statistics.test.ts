import { describe, expect, test } from 'vitest'
import { quantile, summarize } from '../../bench/statistics.ts'

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

test('one sample is its own median and spread', () => {
  expect(summarize([7])).toEqual({ n: 1, medianMs: 7, p10Ms: 7, p90Ms: 7 })
})
