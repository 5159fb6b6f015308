import { describe, expect, test } from 'vitest'
import { splitMix64, Xoshiro128 } from '../../src/generate/random.ts'

describe('Xoshiro128', () => {
  test("gives the numbers of the authors' C program", () => {
    const random = new Xoshiro128([1, 2, 3, 4])
    // xoshiro128starstar.c 1.1 with state 1, 2, 3, 4; the same list is in the tests of Rust's rand_xoshiro
    const expected = [
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804,
    ]
    expect(expected.map(() => random.next())).toEqual(expected)
  })

  test("is seeded by the authors' SplitMix64", () => {
    // splitmix64.c from seed 1234567; the first five outputs are also Rosetta Code's
    const expected = [
      6457827717110365317n,
      3203168211198807973n,
      9817491932198370423n,
      4593380528125082431n,
      16408922859458223821n,
    ]
    expect(splitMix64(1234567n, 5)).toEqual(expected)
  })

  test('uniform is within [0, 1), even, and repeats with the seed', () => {
    const draw = (seed: number) => {
      const random = Xoshiro128.fromSeed(seed)
      return Array.from({ length: 20_000 }, () => random.uniform())
    }
    const numbers = draw(Number.MAX_SAFE_INTEGER)
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...numbers)).toBeLessThan(1)
    for (let decile = 0; decile < 10; decile++) {
      const count = numbers.filter((x) => Math.floor(x * 10) === decile).length
      expect(Math.abs(count - 2000)).toBeLessThan(5 * Math.sqrt(20_000 * 0.1 * 0.9)) // five standard deviations
    }
    expect(draw(Number.MAX_SAFE_INTEGER)).toEqual(numbers)
    expect(draw(1).slice(0, 5)).not.toEqual(draw(2).slice(0, 5))
  })
})
