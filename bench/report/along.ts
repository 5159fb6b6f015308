import * as Plot from '@observablehq/plot'
import type { BenchReport, Row, Sweep } from '../schema.ts'
import { type Along, alongPanel, logScale, type PanelWords, upright } from './chart.ts'
import { capitalised, fixed, intervalOf, ms, short } from './format.ts'
import { type Column, type Panel, type Section, tableOf } from './section.ts'
import {
  AXIS_WORDS,
  allowedAmong,
  type ComparedRow,
  dispatchesIn,
  EXECUTOR_WORDS,
  executorsOf,
  isCompared,
  isTimed,
  placeOf,
  plannedSweep,
  rowsAlong,
} from './select.ts'

/** The sweep over T by each executor that has rows of it which `isShown`; all its places stay. */
function overTokens<R extends Row>(report: BenchReport, isShown: (row: Row) => row is R) {
  return executorsOf(report, 'layer')
    .map((executor) => {
      const planned = plannedSweep(report, executor)
      const places = [...new Set(planned.map(({ tokens }) => tokens))].sort((a, b) => a - b).map(String)
      return { executor, places, rows: planned.filter(isShown) }
    })
    .filter(({ rows }) => rows.length > 0)
}

/** A picture of speed-ups along an axis, with dashes for the ideal at each place and for what the machine allows. */
function gainPanel(
  words: PanelWords,
  label: string,
  places: string[],
  rows: ComparedRow[],
  { rows: all, conditions }: BenchReport,
  axis: Sweep['axis'],
): Panel {
  const gains = rows.map((row): Along & { ideal: number; allowed: number | null } => {
    const allowed = allowedAmong(all, row, conditions.machine)
    const { dispatch, speedup: value, speedupLow: low, speedupHigh: high, idealSpeedup: ideal } = row
    const interval = low === null || high === null ? '' : ` (${low.toFixed(2)} to ${high.toFixed(2)})`
    const title = `${row.id}: ${value.toFixed(2)} times as fast as dense${interval}, ideal ${short(ideal)}${allowed === null ? '' : `, the machine allows ${short(allowed)}`}`
    return { dispatch, place: placeOf(row, axis), value, low, high, title, ideal, allowed }
  })
  const most = Math.max(
    1,
    ...gains.flatMap(({ value, high, ideal, allowed }) => [high ?? value, ideal, allowed ?? 0]),
  )
  const sparse = gains.filter(({ dispatch }) => dispatch === 'sparse')
  const muted = { stroke: 'var(--muted)' }
  return alongPanel(
    words,
    { rows: gains, places, label },
    upright('times as fast as dense', { domain: [0, 1.1 * most], ticks: 6 }),
    [
      Plot.ruleY([1], { ...muted, strokeDasharray: '5 4' }),
      Plot.tickY(sparse, { x: 'place', y: 'ideal', ...muted, strokeWidth: 2 }),
      Plot.tickY(sparse, { x: 'place', y: 'allowed', stroke: 'currentColor', strokeWidth: 3 }),
    ],
  )
}

const DASHES =
  'The grey dash is the ideal; the black one is what the machine allows, when dense and sparse both take the longer of their FLOPs by its matrix product and their weights by its memory. Where every expert is read by some token, memory lets fewer FLOPs save little time.'

const GAIN_COLUMNS: Column<ComparedRow>[] = [
  ['dispatch', ({ dispatch, executor }) => `${dispatch}, ${executor}`],
  ['times as fast', ({ speedup }) => fixed(speedup)],
  ['95 %', intervalOf],
  ['ideal', ({ idealSpeedup }) => short(idealSpeedup)],
]

/** Speed-up over dense beside the ideal. */
export function speedupSection(report: BenchReport): Section {
  const isGain = (row: Row): row is ComparedRow => isCompared(row) && row.dispatch !== 'dense'
  const shown = overTokens(report, isGain)
  const rows = shown.flatMap((one) => one.rows)
  return {
    id: 'speed-up',
    title: 'Speed-up against the ideal E/K',
    sentence: `Lines at the points are 95 % intervals. ${DASHES}`,
    dispatches: dispatchesIn(rows),
    panels: shown.map(({ executor, places, rows: own }) => {
      const words = { id: `speed-up-${executor}`, caption: `Layer, ${EXECUTOR_WORDS[executor]}` }
      return gainPanel(words, AXIS_WORDS.T, places, own, report, 'T')
    }),
    ...tableOf(rows, [['T', ({ tokens }) => String(tokens)], ...GAIN_COLUMNS]),
  }
}

/** Latency of the layer over tokens, all panels with the same scale. */
export function latencySection(report: BenchReport): Section {
  const shown = overTokens(report, isTimed)
  const rows = shown.flatMap((one) => one.rows)
  const { D, H, E, K } = report.layer
  const y = upright(
    'ms',
    logScale(
      rows.flatMap(({ p10Ms, p90Ms }) => [p10Ms, p90Ms]),
      1.2,
    ),
  )
  return {
    id: 'latency',
    title: 'Latency over tokens',
    sentence: `One call of the layer (D=${D} H=${H} E=${E} K=${K}): median, line from p10 to p90. T is not to scale.`,
    dispatches: dispatchesIn(rows),
    panels: shown.map(({ executor, places, rows: own }) => {
      const times = own.map(({ dispatch, tokens, medianMs: value, p10Ms: low, p90Ms: high, n }): Along => {
        const title = `${dispatch}, ${executor}, T=${tokens}: ${ms(value)} ms (${ms(low)} to ${ms(high)}, n=${n})`
        return { dispatch, place: String(tokens), value, low, high, title }
      })
      const words = { id: `latency-${executor}`, caption: `Layer, ${EXECUTOR_WORDS[executor]}` }
      return alongPanel(words, { rows: times, places, label: AXIS_WORDS.T }, y)
    }),
    ...tableOf(rows, [
      ['dispatch', ({ dispatch }) => dispatch],
      ['executor', ({ executor }) => executor],
      ['T', ({ tokens }) => String(tokens)],
      ['median', ({ medianMs }) => ms(medianMs), 'ms'],
      ['p10', ({ p10Ms }) => ms(p10Ms)],
      ['p90', ({ p90Ms }) => ms(p90Ms)],
      ['n', ({ n }) => String(n)],
    ]),
  }
}

/** Speed-up of sparse and gather along every other axis that was swept, by the executor that conclusions are about. */
export function sweepsSection(report: BenchReport): Section {
  const swept = report.sweeps
    .filter(({ axis }) => axis !== 'T' && axis !== 'grid')
    .map((sweep) => ({
      ...sweep,
      places: sweep.groups.flatMap((group) => report.rows.find((row) => row.group === group) ?? []),
      rows: rowsAlong(report, sweep)
        .filter(({ dispatch }) => dispatch === 'sparse' || dispatch === 'gather')
        .filter(isCompared),
    }))
    .filter(({ rows }) => new Set(rows.map(({ group }) => group)).size > 1)
  const rows = swept.flatMap((one) => one.rows.map((row) => ({ ...row, axis: one.axis })))
  return {
    id: 'sweeps',
    title: 'Speed-up along the other sizes',
    sentence: `${sweepsSentence(rows)}One size is changed at a time. ${DASHES}`,
    dispatches: dispatchesIn(rows),
    panels: swept.map(({ kind, axis, places, rows: own }) => {
      // A prompt that is read is all the keys there are.
      const words = kind === 'prefill' && axis === 'context' ? 'tokens of the prompt' : AXIS_WORDS[axis]
      const named = places.map((row) => placeOf(row, axis))
      return gainPanel(
        { id: `sweep-${kind}-${axis}`, caption: `${capitalised(kind)}: ${words}` },
        words,
        named,
        own,
        report,
        axis,
      )
    }),
    ...tableOf(rows, [
      ['along', ({ kind, axis }) => `${kind}, ${axis}`],
      ['value', (row) => placeOf(row, row.axis)],
      ...GAIN_COLUMNS,
    ]),
  }
}

/** A case that several sweeps share counts once. */
function sweepsSentence(rows: ComparedRow[]): string {
  const cases = new Map(rows.filter(({ dispatch }) => dispatch === 'sparse').map((row) => [row.id, row]))
  const slower = [...cases.values()].filter(({ speedup }) => speedup < 1)
  return cases.size > 0 ? `Sparse is slower than dense in ${slower.length} of ${cases.size} cases. ` : ''
}
