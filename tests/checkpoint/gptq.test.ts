import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Groups } from '../../src/backend/holding.ts'
import { decodeBf16, encodeBf16 } from '../../src/checkpoint/dtype.ts'
import { errorFactor, inGroupsFor } from '../../src/checkpoint/gptq.ts'
import { CUTS, type GroupedMatrix, groupedValues, inGroups } from '../../src/checkpoint/groups.ts'
import { sum } from '../../src/sums.ts'
import { randomNumbers } from '../helpers/random.ts'

const cases = fc.record({
  bits: fc.constantFrom(8 as const, 4 as const),
  group: fc.integer({ min: 1, max: 7 }),
  groups: fc.integer({ min: 1, max: 4 }),
  halfRows: fc.integer({ min: 1, max: 2 }),
  tokens: fc.integer({ min: 1, max: 40 }),
  seed: fc.nat(),
})

/** Rows [rows, n] to round, and inputs [tokens, n] that hang together. */
function drawn({
  group,
  groups,
  halfRows,
  tokens,
  seed,
}: typeof cases extends fc.Arbitrary<infer C> ? C : never) {
  const next = randomNumbers(seed)
  const n = group * groups
  const rows = 2 * halfRows // whole bytes
  const values = Float32Array.from({ length: rows * n }, () => next() ** 3)
  const mix = Array.from({ length: n }, () => Array.from({ length: n }, next))
  const inputs = Array.from({ length: tokens }, () => {
    const hidden = Array.from({ length: n }, next)
    return mix.map((row, i) => sum(row.map((each, k) => each * hidden[k])) + (i % 3))
  })
  const moments = Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, k) => sum(inputs.map((x) => x[i] * x[k]))),
  )
  return { n, rows, values, inputs, moments }
}

/** x of A x = b, by Gauss with pivots. */
function solved(matrix: number[][], b: number[]): number[] {
  const rows = matrix.map((row, i) => [...row, b[i]])
  for (const [i] of rows.entries()) {
    const best = rows
      .slice(i)
      .reduce((most, row, k) => (Math.abs(row[i]) > Math.abs(rows[most][i]) ? i + k : most), i)
    ;[rows[i], rows[best]] = [rows[best], rows[i]]
    for (const [k, row] of rows.entries()) {
      if (k === i) continue
      const times = row[i] / rows[i][i]
      for (let c = i; c < row.length; c++) row[c] -= times * rows[i][c]
    }
  }
  return rows.map((row, i) => row[b.length] / row[i])
}

function bfloat16(value: number): number {
  const [bits, wide] = [new Uint16Array(1), new Uint32Array(1)]
  encodeBf16(new Uint32Array(Float32Array.of(value).buffer), bits)
  decodeBf16(bits, wide, 0)
  return new Float32Array(wide.buffer)[0]
}

/** What the numbers from i on would be, if they were not rounded, to make the best of errors before. */
function wantedFrom(i: number, row: number[], errors: number[], A: number[][]): number[] {
  const rest = [...row.keys()].slice(i)
  const moved = solved(
    rest.map((j) => rest.map((k) => A[j][k])),
    rest.map((j) => sum(errors.map((error, k) => A[j][k] * error))),
  )
  return rest.map((j, at) => row[j] + moved[at])
}

/** How much errors up to there move outputs, squared, when the rest makes the best of them. */
function leastMoved(row: number[], errors: number[], A: number[][]): number {
  const wanted = wantedFrom(errors.length, row, errors, A)
  const all = [...errors, ...wanted.map((value, at) => row[errors.length + at] - value)]
  return sum(all.map((a, i) => sum(all.map((b, k) => a * A[i][k] * b))))
}

/** GPTQ by its words: one number rounded, the system of all that are left solved anew. */
function definition(row: number[], A: number[][], { bits, group }: Groups): number[] {
  const zero = 2 ** (bits - 1)
  let errors: number[] = []
  for (let begin = 0; begin < row.length; begin += group) {
    const largest = Math.max(...wantedFrom(begin, row, errors, A).slice(0, group).map(Math.abs))
    const tried = CUTS[bits].map((cut) => {
      const scale = bfloat16((largest * cut) / (zero - 0.5))
      const own = [...errors]
      for (let i = begin; i < begin + group; i++) {
        const [wanted] = wantedFrom(i, row, own, A)
        own.push(row[i] - scale * Math.min(Math.max(Math.round(wanted / scale), -zero), zero - 1))
      }
      return { own, moved: leastMoved(row, own, A) }
    })
    errors = tried.reduce((best, each) => (each.moved < best.moved * (1 - 1e-9) ? each : best)).own
  }
  return row.map((value, i) => value - errors[i])
}

describe('rounding by the inputs', () => {
  test('is what its definition gives, which solves for all numbers that are left, one by one', () => {
    fc.assert(
      fc.property(cases, (drawing) => {
        const { n, rows, values, moments } = drawn(drawing)
        const damping = (0.01 * sum(moments.map((row, i) => row[i]))) / n
        const damped = moments.map((row, i) => row.map((value, k) => value + (i === k ? damping : 0)))
        const made = inGroupsFor(errorFactor(Float64Array.from(moments.flat()), n), values, drawing)
        const actual = groupedValues(made, drawing)
        for (let r = 0; r < rows; r++) {
          const expected = definition([...values.subarray(r * n, (r + 1) * n)], damped, drawing)
          for (const [i, value] of expected.entries()) expect(actual[r * n + i]).toBeCloseTo(value, 6)
        }
        const squared = sum([...values].map((value, i) => (value - actual[i]) ** 2))
        expect(made.squaredError).toBeCloseTo(squared, 6)
      }),
      { numRuns: 60 },
    )
  })

  test('moves outputs less than rounding each number to the nearest, over many matrices', () => {
    const moved = { nearest: 0, calibrated: 0 }
    fc.assert(
      fc.property(cases, (drawing) => {
        const { n, rows, values, inputs, moments } = drawn(drawing)
        const outputs = (made: GroupedMatrix) => {
          const off = [...groupedValues(made, drawing)].map((value, i) => value - values[i])
          const own = Array.from({ length: rows }, (_, r) => off.slice(r * n, (r + 1) * n))
          return sum(inputs.map((x) => sum(own.map((row) => sum(row.map((error, i) => error * x[i])) ** 2))))
        }
        const all = sum(moments.map((row, i) => row[i])) // so that each counts alike
        moved.nearest += outputs(inGroups(values, drawing)) / all
        moved.calibrated +=
          outputs(inGroupsFor(errorFactor(Float64Array.from(moments.flat()), n), values, drawing)) / all
      }),
      { numRuns: 100, seed: 1 },
    )
    expect(moved.calibrated).toBeLessThan(0.7 * moved.nearest)
  })

  test.each([1, 1e-6, 3e4])(
    'by inputs that have nothing to do with each other, of size %d, is rounding each to the nearest',
    (size) => {
      fc.assert(
        fc.property(cases, (drawing) => {
          const { n, values } = drawn(drawing)
          const white = Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? size : 0))
          expect(inGroupsFor(errorFactor(white, n), values, drawing)).toEqual(inGroups(values, drawing))
        }),
      )
    },
  )

  test('by inputs of zeros is rounding to the nearest, and zeros stay zeros', () => {
    const values = Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? 0 : Math.sin(i)))
    const groups = { bits: 4, group: 32 } as const
    expect(inGroupsFor(errorFactor(new Float64Array(64 * 64), 64), values, groups)).toEqual(
      inGroups(values, groups),
    )
  })
})
