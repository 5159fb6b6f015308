import * as Plot from '@observablehq/plot'
import type { BenchReport, Sweep } from '../schema.ts'
import { centred, highest, panel, speedupMarks, upright } from './charts.ts'
import { capitalised, fixed, intervalOf, listed, short } from './format.ts'
import { type Panel, type Section, tableOf } from './section.ts'
import { AXIS_WORDS, type ComparedRow, dispatchesIn, isCompared, placeOf, rowsAlong } from './select.ts'

/** A sweep with its rows of sparse and gather, and every place along it, measured or not. */
interface Along extends Sweep {
  rows: (ComparedRow & { place: string })[]
  places: string[]
}

/** Speed-up along every other axis that was swept, by the executor that conclusions are about. */
export function sweepsSection(report: BenchReport): Section {
  const all = report.sweeps
    .filter(({ axis }) => axis !== 'T' && axis !== 'grid')
    .map((sweep) => along(report, sweep))
  const swept = all.filter(({ rows }) => new Set(rows.map(({ group }) => group)).size > 1)
  const rows = swept.flatMap((one) => one.rows.map((row) => ({ ...row, axis: one.axis })))
  return {
    id: 'sweeps',
    title: 'Speed-up along the other sizes',
    sentence: sentenceOf(swept),
    missing: missingOf(all),
    note: 'One size is changed at a time. The dash over each place is the ideal there, lines at the points are 95 % intervals.',
    dispatches: dispatchesIn(rows),
    panels: swept.map(sweepPanel),
    ...tableOf(rows, [
      ['along', ({ kind, axis }) => `${kind}, ${axis}`],
      ['value', ({ place }) => place],
      ['dispatch', ({ dispatch }) => dispatch],
      ['times as fast', ({ speedup }) => fixed(speedup)],
      ['95 %', intervalOf],
      ['ideal', ({ idealSpeedup }) => short(idealSpeedup)],
    ]),
  }
}

function along(report: BenchReport, sweep: Sweep): Along {
  const planned = sweep.groups.flatMap((group) => report.rows.find((row) => row.group === group) ?? [])
  const rows = rowsAlong(report, sweep)
    .filter(({ dispatch }) => dispatch === 'sparse' || dispatch === 'gather')
    .filter(isCompared)
    .map((row) => ({ ...row, place: placeOf(row, sweep.axis) }))
  return { ...sweep, rows, places: planned.map((row) => placeOf(row, sweep.axis)) }
}

/** Places where sparse was not compared with dense. */
function missingOf(all: Along[]): string {
  const missing = all.flatMap((one) => {
    const found = sparseOf(one).map(({ place }) => place)
    const left = one.places.filter((place) => !found.includes(place))
    return left.length > 0 ? [`${one.kind}, ${wordsOf(one)}: ${listed(left)}`] : []
  })
  return missing.length > 0 ? `Sparse and dense were not both measured at: ${missing.join('; ')}.` : ''
}

function sparseOf({ rows }: Along): Along['rows'] {
  return rows.filter(({ dispatch }) => dispatch === 'sparse')
}

/** A prompt that is read is all the keys there are. */
function wordsOf({ kind, axis }: Sweep): string {
  return kind === 'prefill' && axis === 'context' ? 'tokens of the prompt' : AXIS_WORDS[axis]
}

function sweepPanel(one: Along): Panel {
  const { kind, axis, rows, places } = one
  const words = wordsOf(one)
  return panel(
    {
      id: `sweep-${kind}-${axis}`,
      caption: `${capitalised(kind)}: ${words}`,
    },
    {
      height: 240,
      x: { type: 'band', domain: places, ...centred(words), padding: 0.5 },
      y: upright('times as fast as dense', { domain: [0, 1.08 * highest(rows)], ticks: 5 }),
      marks: [
        Plot.ruleY([1], { stroke: 'var(--muted)', strokeDasharray: '5 4' }),
        Plot.tickY(sparseOf(one), {
          x: 'place',
          y: 'idealSpeedup',
          stroke: 'var(--muted)',
          strokeWidth: 2,
          title: ({ idealSpeedup }) => `ideal ${short(idealSpeedup)}`,
        }),
        ...speedupMarks(rows, 'place'),
      ],
    },
  )
}

function sentenceOf(swept: Along[]): string {
  if (swept.length === 0) return 'No other size was measured at more than one value.'
  // A case that several sweeps share counts once.
  const cases = new Map(
    swept.flatMap((one) =>
      sparseOf(one).map((row) => [row.id, { ...row, name: `${one.kind} ${one.axis}=${row.place}` }] as const),
    ),
  )
  if (cases.size === 0) return 'Sparse was not timed along them.'
  const all = [...cases.values()]
  const slower = all.filter(({ speedup }) => speedup < 1)
  const best = all.reduce((most, row) => (row.speedup > most.speedup ? row : most))
  const lost =
    slower.length === 0
      ? 'none'
      : slower.length === all.length
        ? 'all'
        : `${slower.length} (${listed(slower.map(({ name }) => name))})`
  return `Of ${all.length} cases, sparse is slower than dense in ${lost}; it does best at ${best.name}, ${best.speedup.toFixed(2)} times as fast (ideal ${short(best.idealSpeedup)}).`
}
