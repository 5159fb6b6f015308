import { extname, relative } from 'node:path'
import { EXECUTORS } from '../../src/load-model.ts'
import { table, wrapped } from '../../src/text/columns.ts'
import type { BenchReport, PeerRow, Row, Sweep } from '../schema.ts'
import { fixed, percent, time, UNKNOWN } from './format.ts'
import { conditionLines } from './markdown.ts'
import { remarks } from './remarks.ts'
import {
  AXIS_WORDS,
  breakdownSection,
  type Cells,
  filledColumns,
  isMeasured,
  type LayerAxis,
  type Line,
  layerFacts,
  linesOf,
  modelCaseName,
  modelFacts,
  modelRows,
  OF_MATMUL,
  oursFor,
  placeOf,
  saysMore,
  TIME_COLUMNS,
} from './tables.ts'

/** Columns that text is wrapped to and tables stay in. */
const WIDTH = 120

/** A table of the terminal under its line of words; numbers to the right, unless it holds words. */
interface Block {
  title: string
  cells: Cells
  words?: boolean
}

/**
 * The report for a terminal: one screen or two, what matters most last. By the executor that conclusions are about; sweeps and
 * capacity in a line each. The stored files have all the rest.
 */
export function terminalReport(report: BenchReport, files: string[]): string {
  const blocks = [
    capacityBlock(report),
    partsBlock(report),
    gridBlock(report),
    sweepsBlock(report),
    peersBlock(report),
    tokensBlock(report),
    modelBlock(report),
  ].filter((block) => block !== null)
  const notes = remarks(report)
  return [
    ...blocks.map(
      ({ title, cells, words }) => lines([title]) + table(cells, words ? [...cells[0].keys()] : [0]),
    ),
    lines([...conditionLines(report), stored(files)]),
    ...(notes.length > 0 ? [lines(notes)] : []),
    lines([report.conclusion]),
  ].join('\n')
}

function lines(texts: string[]): string {
  return texts.flatMap((text) => wrapped(text, WIDTH).map((line) => `${line}\n`)).join('')
}

function stored(paths: string[]): string {
  const files = paths.map((path) => {
    const near = relative(process.cwd(), path)
    return near.startsWith('..') ? path : near
  })
  const [first = ''] = files
  const stem = first.slice(0, first.length - extname(first).length)
  const alike = files.every((file) => file === stem + extname(file))
  const names = alike
    ? `${stem}.{${files.map((file) => extname(file).slice(1)).join(',')}}`
    : files.join(', ')
  return `report: ${names}; the page has the pictures, all have every row`
}

/** A line a case, also where nothing could be timed; the other executor's sparse beside it. */
function casesBlock(
  { conditions: { executor } }: BenchReport,
  title: string,
  rows: Row[],
  nameOf: (row: Row) => string,
  columns = TIME_COLUMNS,
): Block | null {
  const all = linesOf(rows)
  if (!all.some(isMeasured)) return null
  const others = EXECUTORS.filter((name) => name !== executor)
  const cells = all
    .filter(({ row }) => row.executor === executor)
    .map(({ row, by }) => [
      nameOf(row),
      ...columns.map(({ cell }) => cell(by)),
      ...others.map((name) => time(all.find((line) => isOf(line, row.group, name))?.by.sparse)),
    ])
  const heading = ['', ...columns.map((column) => column.heading), ...others.map((name) => `sparse ${name}`)]
  return { title, cells: filledColumns([heading, ...cells]) }
}

function isOf({ row }: Line, group: string, executor: Row['executor']): boolean {
  return row.group === group && row.executor === executor
}

function modelBlock(report: BenchReport): Block | null {
  const rows = (['prefill', 'decode'] as const).flatMap((kind) => modelRows(report, kind))
  const title = `Model ${report.model.name} (${modelFacts(report)}), batch x keys: median ms of a call, ${report.conditions.executor}`
  return casesBlock(report, title, rows, (row) => `${row.kind} ${modelCaseName(row)}`)
}

function tokensBlock(report: BenchReport): Block | null {
  const { D, H, E, K } = report.layer
  const sweep = report.sweeps.find(({ axis }) => axis === 'T')
  const rows = report.rows.filter(({ group }) => sweep?.groups.includes(group))
  const title = `One layer (D=${D} H=${H} E=${E} K=${K}; ${layerFacts(report)}), T tokens: median ms of a call, ${report.conditions.executor}`
  return casesBlock(report, title, rows, ({ tokens }) => `T=${tokens}`, [...TIME_COLUMNS, OF_MATMUL])
}

/** A line a sweep: each place with its speed-up and its ideal. */
function sweepsBlock(report: BenchReport): Block | null {
  const swept = report.sweeps.filter(
    (sweep) =>
      sweep.kind === 'layer' && !['T', 'grid'].includes(sweep.axis) && sparseAlong(report, sweep).length > 1,
  )
  const telling = swept.filter((sweep) => saysMore(report, sweep))
  if (telling.length === 0) return null
  const rows = telling.map((sweep) => {
    const axis = sweep.axis as LayerAxis
    const places = sparseAlong(report, sweep).map(
      (row) => `${placeOf(row, axis)}: ${digits(row.speedup)} of ${digits(row.idealSpeedup)}`,
    )
    return [AXIS_WORDS[axis], ...places]
  })
  const tokens = sparseAlong(report, telling[0])[0].tokens
  return {
    title: `One size of the layer changed, T=${tokens}: sparse is so many times as fast as dense, of the ideal`,
    cells: rectangular(rows),
    words: true,
  }
}

function sparseAlong({ rows, conditions }: BenchReport, { groups }: Sweep): Row[] {
  return groups.flatMap((group) =>
    rows.filter(
      (row) => row.group === group && row.dispatch === 'sparse' && row.executor === conditions.executor,
    ),
  )
}

/** Of very many combinations only how they are spread. */
function gridBlock(report: BenchReport): Block | null {
  const grid = report.sweeps.find(({ axis }) => axis === 'grid')
  const rows = grid ? sparseAlong(report, grid) : []
  const timed = rows
    .filter((row): row is Row & { speedup: number } => row.speedup !== null)
    .toSorted((a, b) => a.speedup - b.speedup)
  if (timed.length === 0) return null
  const places = {
    least: timed[0],
    middle: timed[Math.floor(timed.length / 2)],
    most: timed[timed.length - 1],
  }
  return {
    title: `Every combination of sizes, ${timed.length} of ${rows.length} timed: sparse is so many times as fast as dense, of the ideal`,
    cells: Object.entries(places).map(([name, { id, speedup, idealSpeedup }]) => [
      name,
      `${digits(speedup)} of ${digits(idealSpeedup)}`,
      id,
    ]),
    words: true,
  }
}

function partsBlock(report: BenchReport): Block | null {
  const { title, note, cells } = breakdownSection(report)
  return report.breakdown.length > 0 ? { title: `${title}. ${note}`, cells } : null
}

/** A line a routing, a column a factor. */
function capacityBlock({ capacity }: BenchReport): Block | null {
  if (capacity.length === 0) return null
  const factors = [...new Set(capacity.map(({ factor }) => factor))]
  const cases = [...new Set(capacity.map(({ routing, tokens }) => `${routing}, T=${tokens}`))]
  const cellOf = (name: string, wanted: number | null) => {
    const row = capacity.find(
      ({ routing, tokens, factor }) => `${routing}, T=${tokens}` === name && factor === wanted,
    )
    return row ? `${fixed(row.medianMs)} (${percent(row.droppedShare)})` : UNKNOWN
  }
  return {
    title:
      'Room for so many times the fair share of tokens an expert: median ms, and the share that is dropped; routed on the host',
    cells: [
      ['', ...factors.map((factor) => (factor === null ? 'no limit' : String(factor)))],
      ...cases.map((name) => [name, ...factors.map((factor) => cellOf(name, factor))]),
    ],
  }
}

/** A line a case, ours and each implementation side by side. */
function peersBlock(report: BenchReport): Block | null {
  const found = report.peers.flatMap(({ report: peer }) =>
    (peer?.rows ?? []).map((row) => ({ name: `${peer?.library} ${row.implementation}`, row })),
  )
  if (found.length === 0) return null
  const workOf = (row: PeerRow) =>
    row.context === null ? `${row.kind} T=${row.tokens}` : `${row.kind} ${modelCaseName(row)}`
  const names = [...new Set(found.map(({ name }) => name))]
  const works = [...new Set(found.map(({ row }) => workOf(row)))]
  const cells = works.map((work) => {
    const same = found.filter(({ row }) => workOf(row) === work)
    const times = names.map((name) => same.find((one) => one.name === name)?.row.medianMs ?? null)
    return [work, fixed(oursFor(report, same[0].row)), ...times.map(fixed)]
  })
  return {
    title: 'Peers, median ms of a call; in the same session, not in turn with our rows',
    cells: [['', 'ours, fastest', ...names], ...cells],
  }
}

/** Three digits. */
function digits(value: number | null): string {
  return value === null ? UNKNOWN : String(Number(value.toPrecision(3)))
}

function rectangular(rows: Cells): Cells {
  const columns = Math.max(...rows.map((row) => row.length))
  return rows.map((row) => [...row, ...new Array<string>(columns - row.length).fill('')])
}
