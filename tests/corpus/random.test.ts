import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hash32, Random } from '../../src/corpus/random.ts'

const draws = (random: Random, count: number) => Array.from({ length: count }, () => random.next())

describe('Random', () => {
  test('one seed gives one sequence, another seed another', () => {
    expect(draws(new Random(1), 20)).toEqual(draws(new Random(1), 20))
    expect(draws(new Random(1), 20)).not.toEqual(draws(new Random(2), 20))
    expect(draws(new Random('a'), 3)).toMatchInlineSnapshot(`
      [
        2957200906,
        3439438262,
        676465752,
      ]
    `)
  })

  test('goes on from a stored state', () => {
    const random = new Random(5)
    draws(random, 7)
    const stored = JSON.parse(JSON.stringify(random.state))
    const expected = draws(random, 20)
    expect(draws(Random.fromState(stored), 20)).toEqual(expected)
    // the state given out is a copy
    expect(draws(Random.fromState(stored), 20)).toEqual(expected)
  })

  test('float is in [0, 1) and even', () => {
    const random = new Random(1)
    const bins = new Array<number>(10).fill(0)
    for (let i = 0; i < 10_000; i++) bins[Math.floor(random.float() * 10)]++
    // 1000 each; 5 standard deviations of a binomial are 150
    for (const count of bins) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })

  test('int reaches both ends and no further', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: -50, max: 50 }), fc.nat(5), (seed, low, span) => {
        const random = new Random(seed)
        const seen = new Set(Array.from({ length: 300 }, () => random.int(low, low + span)))
        expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: span + 1 }, (_, i) => low + i))
      }),
    )
  })

  test('normal has mean 0 and variance 1', () => {
    const random = new Random(2)
    const values = Array.from({ length: 20_000 }, () => random.normal())
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    expect(Math.abs(mean)).toBeLessThan(0.03)
    expect(Math.abs(variance - 1)).toBeLessThan(0.05)
  })

  test('weighted follows the weights, and never takes a weight of 0', () => {
    const random = new Random(3)
    const counts = { a: 0, b: 0, c: 0 }
    for (let i = 0; i < 8000; i++) counts[random.weighted({ a: 3, b: 0, c: 1 })]++
    expect(counts.b).toBe(0)
    expect(counts.a / counts.c).toBeCloseTo(3, 0)
    expect(() => random.weighted({ a: 0 })).toThrow('positive weight')
  })

  test('pick wants something to pick from', () => {
    expect(new Random(1).pick(['only'])).toBe('only')
    expect(() => new Random(1).pick([])).toThrow('at least one')
  })

  test('shuffle keeps the items and leaves the original', () => {
    const items = [1, 2, 3, 4, 5, 6, 7, 8]
    const shuffled = new Random(1).shuffle(items)
    expect(items).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(shuffled).not.toEqual(items)
    expect([...shuffled].sort()).toEqual(items)
  })

  test('chance', () => {
    const random = new Random(4)
    const hits = Array.from({ length: 4000 }, () => random.chance(0.25)).filter(Boolean).length
    expect(Math.abs(hits - 1000)).toBeLessThan(140)
  })
})

test('hash32 spreads near-equal texts', () => {
  const slots = new Array<number>(10).fill(0)
  for (let i = 0; i < 10_000; i++) slots[hash32(`sum ${i}`) % 10]++
  for (const count of slots) expect(Math.abs(count - 1000)).toBeLessThan(150)
})
