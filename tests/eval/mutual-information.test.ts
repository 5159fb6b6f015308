import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type DocumentCounts,
  entropyBits,
  mutualInformation,
  mutualInformationBits,
} from '../../src/eval/mutual-information.ts'
import { randomNumbers } from '../helpers/random.ts'

/** sum p(x, y) log2 p(x, y) / p(x) p(y), as textbooks have it (Cover and Thomas, eq. 2.28). */
function byDefinition(table: number[][]): number {
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0)
  const total = sum(table.flat())
  let bits = 0
  table.forEach((row, x) => {
    row.forEach((n, y) => {
      if (n === 0) return
      const [px, py] = [sum(table[x]) / total, sum(table.map((r) => r[y])) / total]
      bits += (n / total) * Math.log2(n / total / (px * py))
    })
  })
  return bits
}

describe('mutual information of a table', () => {
  test.each<[name: string, table: number[][], bits: number]>([
    [
      'each kind has its expert: one bit',
      [
        [5, 0],
        [0, 5],
      ],
      1,
    ],
    [
      'no preference: none',
      [
        [2, 4, 6],
        [1, 2, 3],
      ],
      0,
    ],
    // 1 - H(1/4) = 1 - 0.811278...
    [
      'three of four',
      [
        [3, 1],
        [1, 3],
      ],
      0.18872187554086717,
    ],
    // H(rows) = H(2/3) = 0.918296, H(columns) = H(1/3) = 0.918296, H(cells) = log2 3 = 1.584963
    [
      'an empty cell',
      [
        [1, 1],
        [0, 1],
      ],
      0.2516291673878229,
    ],
    [
      'three kinds on two experts: all that two experts can tell of them',
      [
        [4, 0],
        [0, 4],
        [0, 4],
      ],
      0.9182958340544896,
    ],
  ])('%s', (_, table, bits) => {
    expect(mutualInformationBits(table)).toBeCloseTo(bits, 12)
  })

  test('is what the definition gives, on any table', () => {
    const count = fc.integer({ min: 0, max: 50 })
    const table = fc
      .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6 }))
      .chain(([D, E]) =>
        fc.array(fc.array(count, { minLength: E, maxLength: E }), { minLength: D, maxLength: D }),
      )
      .filter((rows) => rows.flat().some((n) => n > 0))
    fc.assert(
      fc.property(table, (rows) => {
        expect(mutualInformationBits(rows)).toBeCloseTo(byDefinition(rows), 10)
      }),
    )
  })

  test('entropy of four equal counts is two bits', () => {
    expect(entropyBits([3, 3, 0, 3, 3])).toBeCloseTo(2, 12)
  })
})

/** `n` documents of each kind whose `tokens` go to experts drawn evenly, `alike` tokens in a row to the same one. */
function aimless(seed: number, { kinds = 3, n = 20, tokens = 12, alike = 1, E = 4 } = {}): DocumentCounts[] {
  const next = randomNumbers(seed)
  return Array.from({ length: kinds * n }, (_, i) => {
    const counts = new Array<number>(E).fill(0)
    for (let t = 0; t < tokens; t += alike) counts[Math.floor(((next() + 1) / 2) * E)] += alike
    return { kind: i % kinds, counts }
  })
}

function meanOver(seeds: number, value: (seed: number) => number): number {
  return Array.from({ length: seeds }, (_, seed) => value(seed)).reduce((a, b) => a + b, 0) / seeds
}

describe('its bias', () => {
  test('without the correction is the one of Miller (1955) for independent tokens', () => {
    const bits = meanOver(200, (seed) => mutualInformation(aimless(seed), 3)!.plugInBits)
    const expected = (2 * 3) / (2 * 720 * Math.LN2) // (kinds - 1) (E - 1) / 2 N ln 2
    expect(Math.abs(bits - expected)).toBeLessThan(0.15 * expected)
  })

  test.each([
    ['independent', 1],
    ['alike', 6],
  ])('with tokens of a document %s is taken off', (_, alike) => {
    const results = Array.from({ length: 200 }, (_, seed) => mutualInformation(aimless(seed, { alike }), 3)!)
    const plugIn = meanOver(200, (i) => results[i].plugInBits)
    const corrected = meanOver(200, (i) => results[i].bits)
    expect(Math.abs(corrected)).toBeLessThan(0.08 * plugIn)
  })

  test('the standard error is about the spread over samples', () => {
    // experts that prefer kinds, so that the spread is not that of a square near its zero
    const results = Array.from({ length: 150 }, (_, seed) => {
      const documents = aimless(seed, { n: 30 }).map(({ kind, counts }) => ({
        kind,
        counts: Array.from(counts, (n, e) => (e === kind ? 3 * n : n)),
      }))
      return mutualInformation(documents, 3)!
    })
    const mean = meanOver(150, (i) => results[i].bits)
    const spread = Math.sqrt(meanOver(150, (i) => (results[i].bits - mean) ** 2))
    const error = meanOver(150, (i) => results[i].standardError)
    expect(error / spread).toBeGreaterThan(0.8)
    expect(error / spread).toBeLessThan(1.25)
  })
})

test('experts that know the kind tell all of it', () => {
  const documents = Array.from({ length: 12 }, (_, i) => ({
    kind: i % 4,
    counts: Array.from({ length: 4 }, (_, e) => (e === i % 4 ? 5 : 0)),
  }))
  expect(mutualInformation(documents, 4)).toEqual({
    bits: expect.closeTo(2, 10),
    plugInBits: expect.closeTo(2, 10),
    standardError: expect.closeTo(0, 10),
    kindEntropyBits: expect.closeTo(2, 10),
    normalised: expect.closeTo(1, 10),
  })
})

test('a single kind has nothing to tell', () => {
  expect(mutualInformation([{ kind: 1, counts: [1, 2] }], 2)).toBeNull()
})
