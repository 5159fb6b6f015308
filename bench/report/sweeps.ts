import * as Plot from '@observablehq/plot'
import type { BenchReport, Dispatch, Row, Sweep } from '../schema.ts'
import { centred, draw, short } from './charts.ts'
import { listed } from './markup.ts'
import { type ComparedRow, dispatchesIn, isCompared } from './page-select.ts'
import { colourOf, LOOKS } from './palette.ts'
import type { PageSection, Panel } from './section.ts'
import type { Cells } from './tables.ts'

const AXIS_WORDS: Record<Exclude<Sweep['axis'], 'T' | 'grid'>, string> = {
  E: 'experts E',
  K: 'experts a token K',
  D: 'width D',
  H: 'width of an expert H',
  routing: 'how tokens are routed',
  batch: 'sequences of a call',
  context: 'keys in sight',
}
type Axis = keyof typeof AXIS_WORDS

interface Along {
  sweep: Sweep & { axis: Axis }
  rows: ComparedRow[]
  /** Every place along the axis, measured or not. */
  places: string[]
}

/** Speed-up along every other axis that was swept, by the executor that conclusions are about. */
export function sweepsSection(report: BenchReport): PageSection {
  const all = report.sweeps.flatMap((sweep) => along(report, sweep))
  const swept = all.filter(({ rows }) => new Set(rows.map(({ group }) => group)).size > 1)
  const rows = swept.flatMap((one) => one.rows)
  return {
    id: 'sweeps',
    title: 'Speed-up along the other sizes',
    sentence: sentenceOf(swept),
    missing: missingOf(all),
    note: 'One size is changed, the others stay as they are in the layer above; for the model it is the batch or the context. The dash over each place is the ideal there, 1 is dense, lines at the points are 95 % intervals.',
    dispatches: dispatchesIn(rows),
    panels: swept.map(sweepPanel),
    table: tableOf(swept),
  }
}

function along(report: BenchReport, sweep: Sweep): Along[] {
  const { axis } = sweep
  if (axis === 'T' || axis === 'grid') return []
  const planned = sweep.groups.flatMap((group) => report.rows.find((row) => row.group === group) ?? [])
  const places = planned.map((row) => placeOf(axis, row))
  return [{ sweep: { ...sweep, axis }, rows: rowsOf(report, sweep), places }]
}

/** Places where sparse was not compared with dense. */
function missingOf(all: Along[]): string {
  const missing = all.flatMap(({ sweep: { kind, axis }, rows, places }) => {
    const found = rows.filter(({ dispatch }) => dispatch === 'sparse').map((row) => placeOf(axis, row))
    const left = places.filter((place) => !found.includes(place))
    return left.length > 0 ? [`${kind}, ${wordsOf(kind, axis)}: ${listed(left)}`] : []
  })
  return missing.length > 0 ? `Sparse and dense were not both measured at: ${missing.join('; ')}.` : ''
}

function rowsOf({ rows, conditions }: BenchReport, { groups }: Sweep): ComparedRow[] {
  const shown: Dispatch[] = ['sparse', 'gather']
  return groups.flatMap((group) =>
    rows.filter(
      (row): row is ComparedRow =>
        row.group === group &&
        row.executor === conditions.executor &&
        shown.includes(row.dispatch) &&
        isCompared(row),
    ),
  )
}

/** A prompt that is read is all the keys there are. */
function wordsOf(kind: Sweep['kind'], axis: Axis): string {
  return kind === 'prefill' && axis === 'context' ? 'tokens of the prompt' : AXIS_WORDS[axis]
}

function placeOf(axis: Axis, { dims, routing, batch, context }: Row): string {
  return String({ ...dims, routing, batch, context }[axis as 'batch'])
}

function sweepPanel({ sweep: { kind, axis }, rows, places }: Along): Panel {
  const place = (row: ComparedRow) => placeOf(axis, row)
  const top =
    1.08 *
    Math.max(
      1,
      ...rows.map(({ idealSpeedup, speedup, speedupHigh }) => Math.max(idealSpeedup, speedupHigh ?? speedup)),
    )
  const words = wordsOf(kind, axis)
  const ideal = rows.filter(({ dispatch }) => dispatch === 'sparse')
  const svg = draw(
    {
      height: 240,
      x: {
        type: 'band',
        domain: places,
        ...centred(words),
        padding: 0.5,
      },
      y: { label: 'times as fast as dense', labelArrow: 'none', domain: [0, top], ticks: 5, grid: true },
      marks: [
        Plot.ruleY([1], { stroke: 'var(--muted)', strokeDasharray: '5 4' }),
        Plot.tickY(ideal, {
          x: place,
          y: 'idealSpeedup',
          stroke: 'var(--muted)',
          strokeWidth: 2,
          title: ({ idealSpeedup }) => `ideal ${short(idealSpeedup)}`,
        }),
        ...dispatchesIn(rows).flatMap((dispatch) => {
          const line = rows.filter((row) => row.dispatch === dispatch)
          const known = line.filter(
            ({ speedupLow, speedupHigh }) => speedupLow !== null && speedupHigh !== null,
          )
          const color = colourOf(dispatch)
          return [
            Plot.ruleX(known, {
              x: place,
              y1: 'speedupLow',
              y2: 'speedupHigh',
              stroke: color,
              strokeWidth: 2,
            }),
            Plot.dot(line, {
              x: place,
              y: 'speedup',
              fill: color,
              symbol: LOOKS[dispatch].symbol,
              r: 4,
              title: hint,
            }),
          ]
        }),
      ],
    },
    {
      id: `sweep-${kind}-${axis}`,
      title: `Speed-up over dense along ${words}, ${kind}`,
      description: listed(rows.map((row) => `${place(row)} ${row.dispatch} ${row.speedup.toFixed(2)}`)),
    },
  )
  return { caption: `${kind[0].toUpperCase()}${kind.slice(1)}: ${words}`, svg }
}

function hint({ id, speedup, idealSpeedup }: ComparedRow): string {
  return `${id}: ${speedup.toFixed(2)} times as fast as dense, ideal ${short(idealSpeedup)}`
}

function sentenceOf(swept: Along[]): string {
  if (swept.length === 0) return 'No other size was measured at more than one value.'
  const sparse = swept.flatMap(({ sweep: { kind, axis }, rows }) =>
    rows
      .filter(({ dispatch }) => dispatch === 'sparse')
      .map((row) => ({ ...row, place: `${kind} ${axis}=${placeOf(axis, row)}` })),
  )
  const unique = [...new Map(sparse.map((row) => [row.id, row])).values()]
  if (unique.length === 0) return 'Sparse was not timed along them.'
  const slower = unique.filter(({ speedup }) => speedup < 1)
  const best = unique.reduce((most, row) => (row.speedup > most.speedup ? row : most))
  const lost =
    slower.length === 0
      ? 'slower than dense in none'
      : slower.length === unique.length
        ? 'slower than dense in all'
        : `slower than dense in ${slower.length} (${listed(slower.map(({ place }) => place))})`
  return `Of ${unique.length} cases, sparse is ${lost}; it does best at ${best.place}, ${best.speedup.toFixed(2)} times as fast (ideal ${short(best.idealSpeedup)}).`
}

function tableOf(swept: Along[]): Cells {
  return [
    ['along', 'value', 'dispatch', 'times as fast', '95 %', 'ideal'],
    ...swept.flatMap(({ sweep, rows }) =>
      rows.map((row) => [
        `${sweep.kind}, ${sweep.axis}`,
        placeOf(sweep.axis, row),
        row.dispatch,
        row.speedup.toFixed(2),
        row.speedupLow === null || row.speedupHigh === null
          ? '-'
          : `${row.speedupLow.toFixed(2)}..${row.speedupHigh.toFixed(2)}`,
        short(row.idealSpeedup),
      ]),
    ),
  ]
}
