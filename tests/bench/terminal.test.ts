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

describe('a complete report', () => {
  test('is short, keeps to 120 columns, and ends with the conclusion', () => {
    expect(lines.length).toBeLessThan(90)
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(120)
    expect(text.replaceAll('\n', ' ').endsWith(`  ${conclusion} `)).toBe(true)
  })

  /** Cells under a table's title, heading first. */
  const tableUnder = (title: string) => {
    const from = lines.findIndex((one) => one.startsWith(title))
    const rest = lines.slice(from)
    const cells = rest.slice(0, rest.indexOf('')).map((one) => one.trim().split(/ {2,}/))
    return cells.slice(cells.findIndex((row) => row.length > 2))
  }

  test('has a line a case by the usual executor', () => {
    const [heading, ...rows] = tableUnder('One layer over tokens T')
    expect(rows.map(([T]) => T)).toEqual(['1', '16', '256', '1024'])
    const timeOf = (dispatch: string) =>
      full.rows
        .find(({ id }) => id === `layer/D512-H1024-E16-K2/T1/real/${dispatch}/recorded`)
        ?.medianMs?.toFixed(2)
    expect([rows[0][heading.indexOf('dense')], rows[0][heading.indexOf('sparse')]]).toEqual([
      timeOf('dense'),
      timeOf('sparse'),
    ])
    expect(line('One layer over tokens T.')).toContain('D=512 H=1024 E=16 K=2')
    expect(
      tableUnder('Model tiny: decode')
        .slice(1)
        .map(([name]) => name),
    ).toEqual(['1 x 128', '4 x 128'])
  })

  test('has a table a sweep, each place with its speed-up and the ideal', () => {
    const row = full.rows.find(({ id }) => id === 'layer/D512-H1024-E32-K2/T256/real/sparse/recorded')
    const [heading, ...rows] = tableUnder('One layer over experts E')
    expect(rows).toHaveLength(4)
    expect(rows[3][heading.indexOf('speed-up')]).toBe(`${row?.speedup?.toFixed(2)}x`)
    expect(rows[3][heading.indexOf('ideal')]).toBe('16.00x')
    const routings = tableUnder('One layer over how tokens are routed').slice(1)
    expect(routings.map(([name]) => name)).toEqual(['real', 'uniform', 'worst'])
  })

  test('has the widths of the model, with what each loses', () => {
    const [heading, ...rows] = tableUnder('What a parameter costs')
    expect(heading.slice(0, 4)).toEqual(['held in', 'bits', 'dense MB', 'tokens/s'])
    expect(rows.map((row) => [row[0], ...row.slice(2, 4), row.at(-1)])).toEqual([
      ['float32', '14.00', '625.0', '0.0000'],
      ['4 bits in groups of 32', '2.24', '2358', '0.0017'],
    ])
  })

  test('has capacity, peers beside our fastest time, and where the files are', () => {
    expect(
      tableUnder('One layer with limited capacity')
        .slice(1)
        .map((row) => row.slice(0, 4)),
    ).toEqual([
      ['1', 'real', '256', '25 %'],
      ['none', 'real', '256', '0.0 %'],
      ['1', 'worst', '256', '88 %'],
    ])
    expect(tableUnder('Peers.')[1].slice(0, 4)).toEqual(['transformers eager', 'layer', '256', '123.0'])
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

  test('has one remark for all that is missing', () => {
    const some = terminalReport(
      cut(({ tokens }) => tokens !== 1024),
      FILES,
    ).split('\n')
    expect(some.filter((one) => one.includes('the time was spent'))).toEqual([
      expect.stringMatching(/^Rows left out: 8 of \d+ of layer\. Why: the time was spent \(8\)\.$/),
    ])
  })

  test('has no sweep of which only the common place was measured, and no table where nothing was', () => {
    const base = terminalReport(
      cut(({ group }) => group === 'layer/D512-H1024-E16-K2/T256/real'),
      FILES,
    )
    expect(base).not.toContain('One layer over experts')
    expect(base).not.toContain('Model tiny')
    expect(base).toContain('One layer over tokens T.')
    const nothing = terminalReport(report([], { conclusion: 'Nothing.' }), [])
    expect(nothing).toMatch(/^device: [\s\S]*\n\nNothing\.\n$/)
  })
})

test('a table of very many lines is for the files', () => {
  const rows = Array.from({ length: 30 }, (_, i) => row({ id: `g${i}`, group: `g${i}` }))
  const sweeps = [{ kind: 'layer' as const, axis: 'grid' as const, groups: rows.map(({ group }) => group) }]
  const grid = terminalReport(report(rows, { sweeps }), FILES)
  expect(grid).toContain('One layer, every combination: 30 lines, which the stored files have.\n')
})
