import { extname, relative } from 'node:path'
import { EXECUTORS } from '../../src/model/ways.ts'
import { table, wrapped } from '../../src/text/columns.ts'
import type { BenchReport, Row } from '../schema.ts'
import { conditionLines } from './conditions.ts'
import { digits, fixed, percent } from './format.ts'
import { remarks } from './remarks.ts'
import { cellsOf, pivoted, type Table } from './section.ts'
import {
  AXIS_WORDS,
  isMeasured,
  linesOf,
  modelRows,
  oursFor,
  placeOf,
  rowsAlong,
  tellingSweeps,
} from './select.ts'
import { caseTable, modelCaseName, OF_MATMUL, parametersOf, partsSection, TIME_COLUMNS } from './tables.ts'

/** Columns that text is wrapped to and tables stay in. */
const WIDTH = 120

/** A section as the terminal shows it: its title and sentence as one line of words, then the table. */
type Brief = Table & { title: string; sentence?: string }

/**
 * The report for a terminal: one screen or two, what matters most last. By the executor that conclusions are about; sweeps and
 * capacity in a line each. The stored files have all the rest.
 */
export function terminalReport(report: BenchReport, files: string[]): string {
  const parts = [
    capacityBrief(report),
    partsSection(report),
    gridBrief(report),
    sweepsBrief(report),
    peersBrief(report),
    tokensBrief(report),
    modelBrief(report),
  ].filter(({ rows }) => rows.length > 0)
  const notes = remarks(report)
  return [
    ...parts.map(printed),
    lines([...conditionLines(report), stored(files)]),
    ...(notes.length > 0 ? [lines(notes)] : []),
    lines([report.conclusion]),
  ].join('\n')
}

/** Numbers to the right, unless the table holds words. */
function printed({ title, sentence, words, ...section }: Brief): string {
  const cells = section.columns.length > 0 ? cellsOf(section) : section.rows
  return (
    lines([sentence ? `${title}. ${sentence}` : title]) + table(cells, words ? [...cells[0].keys()] : [0])
  )
}

function lines(texts: string[]): string {
  return texts.flatMap((text) => wrapped(text, WIDTH).map((line) => `${line}\n`)).join('')
}

/** The files of a report differ in their ends alone. */
function stored(paths: string[]): string {
  const [path = ''] = paths
  const near = relative(process.cwd(), path)
  const stem = (near.startsWith('..') ? path : near).slice(0, -extname(path).length)
  const ends = paths.map((file) => extname(file).slice(1)).join(',')
  return `report: ${stem}.{${ends}}; the page has the pictures, all have every row`
}

/** A line a case, also where nothing could be timed; the other executor's sparse beside it. */
function casesBrief(
  { conditions: { executor } }: BenchReport,
  title: string,
  rows: Row[],
  nameOf: (row: Row) => string,
  columns = TIME_COLUMNS,
): Brief {
  const all = linesOf(rows)
  const shown = all.some(isMeasured) ? all.filter(({ row }) => row.executor === executor) : []
  const others = EXECUTORS.filter((name) => name !== executor).map((name): (typeof TIME_COLUMNS)[number] => {
    const sparseOf = (group: string) =>
      all.find(({ row }) => row.group === group && row.executor === name)?.by.sparse
    return [`sparse ${name}`, (by) => fixed(sparseOf(Object.values(by)[0].group)?.medianMs)]
  })
  const unitless = columns.map(([heading, cell]): (typeof columns)[number] => [heading, cell])
  return { title, ...caseTable(shown, [['', nameOf]], [...unitless, ...others]) }
}

function modelBrief(report: BenchReport): Brief {
  const { name, parameters } = report.model
  const facts = parametersOf(parameters.total, parameters.active)
  const title = `Model ${name} (${facts}), batch x keys: median ms of a call, ${report.conditions.executor}`
  const rows = [...modelRows(report, 'prefill'), ...modelRows(report, 'decode')]
  return casesBrief(report, title, rows, (row) => `${row.kind} ${modelCaseName(row)}`)
}

function tokensBrief(report: BenchReport): Brief {
  const { D, H, E, K, totalParameters, activeParameters } = report.layer
  const facts = `D=${D} H=${H} E=${E} K=${K}; ${parametersOf(totalParameters, activeParameters)}`
  const title = `One layer (${facts}), T tokens: median ms of a call, ${report.conditions.executor}`
  const sweep = report.sweeps.find(({ axis }) => axis === 'T')
  const rows = report.rows.filter(({ group }) => sweep?.groups.includes(group))
  return casesBrief(report, title, rows, ({ tokens }) => `T=${tokens}`, [...TIME_COLUMNS, OF_MATMUL])
}

/** A line a sweep: each place with its speed-up and its ideal. */
function sweepsBrief(report: BenchReport): Brief {
  const swept = tellingSweeps(report)
    .filter(({ axis }) => axis !== 'T')
    .map((sweep) => ({ ...sweep, rows: rowsAlong(report, sweep).filter(isSparse) }))
    .filter(({ rows }) => rows.length > 1)
  const most = Math.max(0, ...swept.map(({ rows }) => rows.length))
  return {
    title: `One size of the layer changed, T=${swept[0]?.rows[0].tokens}: sparse is so many times as fast as dense, of the ideal`,
    columns: [],
    rows: swept.map(({ axis, rows }) => [
      AXIS_WORDS[axis],
      ...Array.from({ length: most }, (_, i) =>
        rows[i] ? `${placeOf(rows[i], axis)}: ${gainOf(rows[i])}` : '',
      ),
    ]),
    words: true,
  }
}

function isSparse({ dispatch }: Row): boolean {
  return dispatch === 'sparse'
}

function gainOf({ speedup, idealSpeedup }: Row): string {
  return `${digits(speedup)} of ${digits(idealSpeedup)}`
}

/** Of very many combinations only how they are spread. */
function gridBrief(report: BenchReport): Brief {
  const grid = report.sweeps.find(({ axis }) => axis === 'grid')
  const rows = grid ? rowsAlong(report, grid).filter(isSparse) : []
  const timed = rows.filter(({ speedup }) => speedup !== null).sort((a, b) => a.speedup! - b.speedup!)
  const places = { least: timed[0], middle: timed[Math.floor(timed.length / 2)], most: timed.at(-1)! }
  return {
    title: `Every combination of sizes, ${timed.length} of ${rows.length} timed: sparse is so many times as fast as dense, of the ideal`,
    columns: [],
    rows: timed.length === 0 ? [] : Object.entries(places).map(([name, row]) => [name, gainOf(row), row.id]),
    words: true,
  }
}

/** A line a routing, a column a factor. */
function capacityBrief({ capacity }: BenchReport): Brief {
  return {
    title:
      'Room for so many times the fair share of tokens an expert: median ms, and the share that is dropped; routed on the host',
    ...pivoted(
      capacity,
      ({ routing, tokens }) => `${routing}, T=${tokens}`,
      ({ factor }) => (factor === null ? 'no limit' : String(factor)),
      ({ medianMs, droppedShare }) => `${fixed(medianMs)} (${percent(droppedShare)})`,
    ),
  }
}

/** A line a case, ours and each implementation side by side. */
function peersBrief(report: BenchReport): Brief {
  const theirs = report.peers.flatMap(({ report: peer }) =>
    (peer?.rows ?? []).map((row) => ({
      row,
      ms: row.medianMs,
      by: `${peer?.library} ${row.implementation}`,
    })),
  )
  const ours = theirs.map(({ row }) => ({ row, ms: oursFor(report, row), by: 'ours, fastest' }))
  return {
    title: 'Peers, median ms of a call; in the same session, not in turn with our rows',
    ...pivoted(
      [...ours, ...theirs],
      ({ row }) => `${row.kind} ${row.context === null ? `T=${row.tokens}` : modelCaseName(row)}`,
      ({ by }) => by,
      ({ ms }) => fixed(ms),
    ),
  }
}
