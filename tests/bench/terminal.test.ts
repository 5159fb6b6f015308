import { describe, expect, test } from 'vitest'
import { terminalReport } from '../../bench/report/terminal.ts'
import type { BenchReport, CapacityRow, Row } from '../../bench/schema.ts'
import { fullReport } from './full-report.ts'
import { report, row } from './rows.ts'

const FILES = ['json', 'md', 'csv', 'html'].map((end) => `results/cpu.${end}`)
const conclusion = `${'On one layer sparse dispatch is many times as fast as dense. '.repeat(5)}So it is.`

function capacityRow(values: Partial<CapacityRow>): CapacityRow {
  const dims = { D: 512, H: 1024, E: 16, K: 2 }
  return {
    id: 'c', tokens: 256, dims, routing: 'real', factor: 1, droppedShare: 0.25, flopsCounted: 1e9, n: 5, medianMs: 20, p10Ms: 19, p90Ms: 22, ...values,
  } // biome-ignore format: a row
}

const peers: BenchReport['peers'] = [
  {
    peer: 'transformers-layer',
    problem: null,
    report: {
      library: 'transformers',
      what: 'a block',
      versions: { torch: '2.13.0' },
      threads: 2,
      rows: ['eager', 'grouped_mm'].map((implementation) => ({
        implementation, kind: 'layer', tokens: 256, batch: 1, context: null, n: 5, medianMs: 123, p10Ms: 1, p90Ms: 2, tokensPerSecond: 1, samplesMs: [1],
      })), // biome-ignore format: a row
    },
  },
]

const full: BenchReport = {
  ...fullReport(),
  conclusion,
  peers,
  capacity: [
    capacityRow({}),
    capacityRow({ factor: null, droppedShare: 0, medianMs: 30 }),
    capacityRow({ routing: 'worst', droppedShare: 0.875 }),
  ],
}
const text = terminalReport(full, FILES)
const lines = text.split('\n')
/** Of the first line that begins so. */
const line = (start: string, among = lines) => among.find((one) => one.startsWith(start)) ?? ''
const words = (start: string, among = lines) => line(start, among).split(/ {2,}/)

describe('a complete report', () => {
  test('is short, keeps to 120 columns, and ends with the conclusion', () => {
    expect(lines.length).toBeLessThan(90)
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(120)
    expect(text.replaceAll('\n', ' ').endsWith(`  ${conclusion} `)).toBe(true)
  })

  test('has a line a case by the usual executor, with the other one beside it', () => {
    expect(lines.filter((one) => /^T=\d/.test(one))).toHaveLength(4)
    const heading = words('', lines.slice(lines.findIndex((one) => one.startsWith('One layer (')) + 1))
    const cells = words('T=1 ')
    const byHeading = (name: string) => cells[heading.indexOf(name)]
    const timeOf = (dispatch: string, executor: string) =>
      full.rows
        .find(({ id }) => id === `layer/D512-H1024-E16-K2/T1/real/${dispatch}/${executor}`)
        ?.medianMs?.toFixed(2)
    expect([byHeading('dense'), byHeading('sparse'), byHeading('sparse eager')]).toEqual([
      timeOf('dense', 'recorded'),
      timeOf('sparse', 'recorded'),
      timeOf('sparse', 'eager'),
    ])
    expect(line('One layer (')).toMatch(/^One layer \(D=512 H=1024 E=16 K=2; .*, recorded$/)
    expect(lines.filter((one) => /^(prefill|decode) \d/.test(one))).toHaveLength(4)
  })

  test('has a sweep in a line, each place with its speed-up and the ideal', () => {
    const rows = full.rows.filter(
      ({ dispatch, executor, dims, tokens, routing }) =>
        dispatch === 'sparse' &&
        executor === 'recorded' &&
        tokens === 256 &&
        routing === 'real' &&
        dims?.E === 32,
    )
    expect(words('experts E')).toHaveLength(5)
    expect(words('experts E')[4]).toBe(`32: ${Number(rows[0].speedup?.toPrecision(3))} of 16`)
    expect(words('how tokens are routed').map((place) => place.split(':')[0])).toEqual([
      'how tokens are routed',
      'real',
      'uniform',
      'worst',
    ])
  })

  test('has capacity by routing, peers by work, and where the files are', () => {
    expect(words('real, T=256')).toEqual(['real, T=256', '20.00 (25 %)', '30.00 (0.0 %)'])
    expect(words('worst, T=256')).toEqual(['worst, T=256', '20.00 (88 %)', '-'])
    expect(words('layer T=256').slice(2)).toEqual(['123.0', '123.0'])
    expect(text).toContain('report: results/cpu.{json,md,csv,html}; ')
  })
})

describe('a report with gaps', () => {
  const cut = (keep: (row: Row) => boolean): BenchReport => ({
    ...full,
    rows: full.rows.map((one) =>
      keep(one)
        ? one
        : { ...one, n: 0, medianMs: null, speedup: null, samplesMs: [], skipped: 'the time was spent' },
    ),
  })

  test('keeps the line of a case that was not measured, and has one remark for all that is missing', () => {
    const some = terminalReport(
      cut(({ tokens }) => tokens !== 1024),
      FILES,
    ).split('\n')
    expect(words('T=1024', some)).toContain('-')
    expect(some.filter((one) => one.includes('the time was spent'))).toEqual([
      expect.stringMatching(/^Rows left out: 8 of \d+ of layer\. Why: the time was spent \(8\)\.$/),
    ])
  })

  test('has no sweep of which only the common place was measured, and no table where nothing was', () => {
    const base = terminalReport(
      cut(({ group }) => group === 'layer/D512-H1024-E16-K2/T256/real'),
      FILES,
    )
    expect(base).not.toContain('One size of the layer changed')
    expect(base).not.toContain('Model tiny')
    expect(base).toContain('One layer (D=512')
    const nothing = terminalReport(report([], { conclusion: 'Nothing.' }), [])
    expect(nothing).toMatch(/^device: [\s\S]*\n\nNothing\.\n$/)
  })
})

test('a grid is the least, the middle and the most of it', () => {
  const rows = [3, 1, 2, 9, 4].map((speedup, i) => row({ id: `g${i}`, group: `g${i}`, speedup }))
  const sweeps = [{ kind: 'layer' as const, axis: 'grid' as const, groups: rows.map(({ group }) => group) }]
  const grid = terminalReport(
    report([...rows, row({ group: 'g0', executor: 'recorded', speedup: 99 })], { sweeps }),
    FILES,
  )
  expect(grid).toContain(
    'Every combination of sizes, 5 of 5 timed: sparse is so many times as fast as dense, of the ideal\n' +
      'least   1 of 8  g1\nmiddle  3 of 8  g0\nmost    9 of 8  g3\n',
  )
})
