import fc from 'fast-check'
import { expect, test } from 'vitest'
import { gapOf, gapsOf } from '../../bench/report/gap.ts'
import { roofAt, rooflinePoints } from '../../bench/report/roofline.ts'
import type { Breakdown } from '../../bench/schema.ts'
import { fullReport } from './full-report.ts'
import { report, row } from './rows.ts'

function breakdown(values: Partial<Breakdown>): Breakdown {
  const parts = { routerMs: 1, groupMs: 2, matmulMs: 10, combineMs: 3, ...values }
  return {
    id: 'b',
    group: 'g',
    tokens: 16,
    dims: { D: 512, H: 1024, E: 16, K: 2 },
    sumMs: parts.routerMs + parts.groupMs + parts.matmulMs + parts.combineMs,
    totalMs: 15,
    n: 5,
    ...parts,
    ...values,
  }
}

test('the parts of the gap by hand: dense 40 ms, sparse 15 ms as in the breakdown, ideal an eighth of dense', () => {
  expect(gapOf(breakdown({}), 40, 15)).toEqual({
    tokens: 16,
    dims: { D: 512, H: 1024, E: 16, K: 2 },
    denseMs: 40,
    sparseMs: 15,
    ideal: 5,
    products: 5,
    router: 1,
    grouping: 2,
    combining: 3,
    together: -1, // 15 in one go, 16 in parts
    scale: 1,
  })
})

test('parts timed in a slower moment are scaled to the row', () => {
  const { scale, router, products, together } = gapOf(breakdown({ totalMs: 30 }), 40, 15)
  expect([scale, router, products, together]).toEqual([0.5, 0.5, 0, 7])
})

test('ideal and parts add up to the time of sparse, whatever was measured', () => {
  const ms = fc.double({ min: 1e-3, max: 1e4, noNaN: true })
  fc.assert(
    fc.property(
      ms,
      ms,
      ms,
      ms,
      ms,
      ms,
      ms,
      (routerMs, groupMs, matmulMs, combineMs, totalMs, dense, sparse) => {
        const gap = gapOf(breakdown({ routerMs, groupMs, matmulMs, combineMs, totalMs }), dense, sparse)
        const sum = gap.ideal + gap.products + gap.router + gap.grouping + gap.combining + gap.together
        const size = sparse + dense + (sparse / totalMs) * (routerMs + groupMs + matmulMs + combineMs)
        expect(Math.abs(sum - sparse)).toBeLessThan(1e-12 * size)
      },
    ),
  )
})

test('only breakdowns whose dense and sparse were timed op by op have a gap', () => {
  const rows = [
    row({ group: 'g', dispatch: 'dense', executor: 'eager', medianMs: 40 }),
    row({ group: 'g', dispatch: 'sparse', executor: 'eager', medianMs: 15 }),
    row({ group: 'h', dispatch: 'dense', executor: 'recorded', medianMs: 40 }),
    row({ group: 'h', dispatch: 'sparse', executor: 'eager', medianMs: 15 }),
  ]
  const gaps = gapsOf({ rows, breakdown: [breakdown({}), breakdown({ group: 'h' })] })
  expect(gaps).toEqual([gapOf(breakdown({}), 40, 15)])
})

test('roofs by hand: 100 GFLOP/s and 10 GB/s meet at 10 FLOP per byte', () => {
  const machine = { matmulGflops: 100, memoryGbPerS: 10, matmulSize: 1, vectorBytes: 1 }
  expect([0.5, 10, 64].map((intensity) => roofAt(intensity, machine))).toEqual([5, 100, 100])
})

test('a row is put at its counted FLOPs by its weight bytes', () => {
  const rows = [
    row({ flops: 9e6, flopsCounted: 8e6, weightBytes: 4e6, gflopsPerSecond: 4 }),
    row({ flops: 9e6, flopsCounted: null, weightBytes: 1e5, gflopsPerSecond: 50 }),
    row({ gflopsPerSecond: null }),
  ]
  const points = rooflinePoints(report(rows)).map(({ intensity, gflops, roof }) => [intensity, gflops, roof])
  expect(points).toEqual([
    [2, 4, 20],
    [90, 50, 100],
  ])
})

test('the made-up report is under its own roofs', () => {
  for (const { gflops, roof } of rooflinePoints(fullReport())) expect(gflops).toBeLessThan(roof)
})
