import * as Plot from '@observablehq/plot'
import { EXECUTORS, type Executor } from '../../src/model/ways.ts'
import type { BenchReport, Row } from '../schema.ts'
import {
  byDispatch,
  highest,
  logScale,
  panel,
  SPEEDUP_MARGIN,
  speedupMarks,
  tokenAxis,
  upright,
} from './charts.ts'
import { fixed, intervalOf, listed, ms, short, UNKNOWN } from './format.ts'
import { type Gap, gapPanel, gapSentence, gapsOf, PART_NAMES } from './gap.ts'
import { type Column, type Panel, type Section, tableOf } from './section.ts'
import {
  type ComparedRow,
  dispatchesIn,
  distinct,
  EXECUTOR_WORDS,
  executorsOf,
  isCompared,
  isTimed,
  plannedSweep,
  type TimedRow,
} from './select.ts'

/** The sweep over T by each executor that has rows of it which `isShown`. */
function sweepsOver<R extends Row>(report: BenchReport, isShown: (row: Row) => row is R) {
  return executorsOf(report, 'layer')
    .map((executor) => {
      const planned = plannedSweep(report, executor)
      const tokens = distinct(planned.map((row) => row.tokens))
      return { executor, tokens, rows: planned.filter(isShown) }
    })
    .filter(({ rows }) => rows.length > 0)
}

interface Over<R> {
  executor: Executor
  /** Measured or not. */
  tokens: number[]
  rows: R[]
}

/** Speed-up over dense beside the ideal, and the gap between them by part. */
export function speedupSection(report: BenchReport): Section {
  const gaps = gapsOf(report)
  const shown = sweepsOver(report, isGain)
  const rows = shown.flatMap((one) => one.rows)
  const ideal = report.layer.E / report.layer.K
  return {
    id: 'speed-up',
    title: 'Speed-up against the ideal E/K',
    sentence: `${speedupSentence(shown[0]?.rows ?? [])} ${gapSentence(report, gaps)}`,
    missing: notShown(
      report,
      'Not compared with dense',
      (row) => row.dispatch === 'dense' || isCompared(row),
    ),
    note: 'Lines at the points are 95 % intervals; docs/report.md defines the parts of the gap.',
    dispatches: dispatchesIn(rows),
    panels: [
      ...shown.map((one) => speedupPanel(one, ideal, highest(rows, ideal))),
      ...(gaps.length > 0 ? [gapPanel(gaps)] : []),
    ],
    ...tableOf(
      [...rows.map(lineOfRow), ...gaps.map(lineOfGap)],
      [
        ['what', ({ what }) => what],
        ['T', ({ tokens }) => String(tokens)],
        ['times as fast', ({ gain }) => fixed(gain)],
        ['95 %', ({ interval }) => interval],
        ['ideal', (line) => short(line.ideal)],
        ...[...PART_NAMES, 'sparseMs' as const, 'denseMs' as const].map((part): Column<TableLine> => {
          return [part.replace('Ms', ''), ({ gap }) => (gap ? ms(gap[part]) : UNKNOWN), 'ms']
        }),
      ],
    ),
  }
}

function isGain(row: Row): row is ComparedRow {
  return isCompared(row) && row.dispatch !== 'dense'
}

/** A compared row, or a gap by part. */
interface TableLine {
  what: string
  tokens: number
  gain: number
  interval: string
  ideal: number
  gap?: Gap
}

function lineOfRow(row: ComparedRow): TableLine {
  const { dispatch, executor, tokens, speedup: gain, idealSpeedup: ideal } = row
  return { what: `${dispatch}, ${executor}`, tokens, gain, interval: intervalOf(row), ideal }
}

function lineOfGap(gap: Gap): TableLine {
  const { tokens, dims, denseMs, sparseMs, scale } = gap
  const what = `gap (parts times ${fixed(scale)})`
  return { what, tokens, gain: denseMs / sparseMs, interval: UNKNOWN, ideal: dims.E / dims.K, gap }
}

function speedupPanel({ executor, tokens, rows }: Over<ComparedRow>, ideal: number, most: number): Panel {
  const { scale, axis, marginBottom } = tokenAxis(tokens)
  const lines = { y: (value: number) => value, frameAnchor: 'right', textAnchor: 'start', dx: 6 } as const
  return panel(
    { id: `speed-up-${executor}`, caption: `Layer, ${EXECUTOR_WORDS[executor]}` },
    {
      marginRight: SPEEDUP_MARGIN,
      marginBottom,
      x: scale,
      y: upright('times as fast as dense', { domain: [0, 1.1 * most], ticks: 6 }),
      marks: [
        axis,
        Plot.ruleY([1, ideal], { stroke: 'var(--muted)', strokeDasharray: '5 4' }),
        Plot.text([1], { ...lines, text: () => 'dense 1' }),
        Plot.text([ideal], { ...lines, text: () => `ideal ${short(ideal)}` }),
        ...byDispatch(rows, (own, { colour: stroke, dashes: strokeDasharray }) => [
          Plot.lineY(own, { x: 'tokens', y: 'speedup', stroke, strokeOpacity: 0.5, strokeDasharray }),
        ]),
        ...speedupMarks(rows, 'tokens'),
      ],
    },
  )
}

function speedupSentence(rows: ComparedRow[]): string {
  const sparse = rows.filter(({ dispatch }) => dispatch === 'sparse')
  if (sparse.length === 0) return 'Sparse and dense were not both timed, so there is no speed-up to show.'
  const slower = sparse.filter(({ speedup }) => speedup < 1)
  const best = sparse.reduce((most, row) => (row.speedup > most.speedup ? row : most))
  const how = EXECUTOR_WORDS[best.executor]
  const gain = `${best.speedup.toFixed(2)} times as fast`
  const share = `${(100 * (best.speedup / best.idealSpeedup)).toFixed(0)} % of the ideal ${short(best.idealSpeedup)}`
  if (slower.length === sparse.length) {
    return `Sparse is slower than dense at every size measured (${how}), at best ${gain} at T=${best.tokens}: ${share}.`
  }
  const places = slower.map(({ tokens, speedup }) => `T=${tokens} (${speedup.toFixed(2)})`)
  const lost = slower.length > 0 ? ` It is slower at ${listed(places)}.` : ''
  return `Sparse is at best ${gain} as dense, at T=${best.tokens} (${how}): ${share}.${lost}`
}

/** Latency of the layer against tokens. */
export function latencySection(report: BenchReport): Section {
  const shown = sweepsOver(report, isTimed)
  const rows = shown.flatMap((one) => one.rows)
  const { D, H, E, K } = report.layer
  return {
    id: 'latency',
    title: 'Latency against tokens',
    sentence: latencySentence(shown[0]?.rows ?? []),
    missing: notShown(report, 'Not measured', isTimed),
    note: `One call of the layer (D=${D} H=${H} E=${E} K=${K}): median, band from p10 to p90. Slope 1 is time in proportion to tokens.`,
    dispatches: dispatchesIn(rows),
    panels: shown.map((one) => latencyPanel(one, rows)),
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

/** All panels have the same scales, those of `all`. */
function latencyPanel({ executor, tokens, rows }: Over<TimedRow>, all: TimedRow[]): Panel {
  const times = all.flatMap(({ p10Ms, p90Ms }) => [p10Ms, p90Ms])
  const { scale: x, axis, marginBottom } = tokenAxis(tokens)
  const y = upright('ms', logScale(Math.min(...times) / 1.2, Math.max(...times) * 1.2))
  const at = { x: 'tokens', y: 'medianMs' }
  const marks = byDispatch(rows, (own, { colour, symbol, dashes }) => [
    Plot.areaY(own, {
      x: 'tokens',
      y1: 'p10Ms',
      y2: 'p90Ms',
      fill: colour,
      fillOpacity: 0.18,
      className: 'band',
    }),
    Plot.lineY(own, { ...at, stroke: colour, strokeWidth: 2, strokeDasharray: dashes }),
    Plot.dot(own, { ...at, fill: colour, symbol, r: 4, title: hint }),
  ])
  const words = { id: `latency-${executor}`, caption: `Layer, ${EXECUTOR_WORDS[executor]}` }
  return panel(words, { marginBottom, x, y, marks: [axis, ...marks] })
}

function hint({ dispatch, executor, tokens, medianMs, p10Ms, p90Ms, n }: TimedRow): string {
  return `${dispatch}, ${executor}, T=${tokens}: ${ms(medianMs)} ms (${ms(p10Ms)} to ${ms(p90Ms)}, n=${n})`
}

/** At the fewest and the most tokens. */
function latencySentence(rows: TimedRow[]): string {
  if (rows.length === 0) return 'No call of the layer was timed, so there is no latency to show.'
  const of = (dispatch: string) => rows.filter((row) => row.dispatch === dispatch)
  const said = of('dense').flatMap((dense) => {
    const sparse = of('sparse').find(({ tokens }) => tokens === dense.tokens)
    return sparse ? [`${ms(dense.medianMs)} against ${ms(sparse.medianMs)} ms at T=${dense.tokens}`] : []
  })
  if (said.length === 0) return 'Dense and sparse were not both timed at any size.'
  const ends = [...new Set([said[0], said.at(-1)!])]
  return `Dense against sparse, ${EXECUTOR_WORDS[rows[0].executor]}: ${listed(ends)}.`
}

/** A sentence an executor that says which rows of the sweep over T are not shown; empty when all are, or none. */
function notShown(report: BenchReport, what: string, isShown: (row: Row) => boolean): string {
  const planned = EXECUTORS.map((executor) => ({ executor, rows: plannedSweep(report, executor) }))
  if (!planned.some(({ rows }) => rows.some(isTimed))) return ''
  const sentences = planned.flatMap(({ executor, rows }) => {
    const dispatches = new Map<string, string[]>()
    for (const dispatch of dispatchesIn(rows)) {
      const all = rows.filter((row) => row.dispatch === dispatch)
      const left = all.filter((row) => !isShown(row)).map(({ tokens }) => `T=${tokens}`)
      if (left.length === 0) continue
      const where = left.length === all.length ? 'at all sizes' : `at ${listed(left)}`
      dispatches.set(where, [...(dispatches.get(where) ?? []), dispatch])
    }
    const missing = [...dispatches].map(([where, names]) => `${listed(names)} ${where}`)
    return missing.length > 0 ? [`${what} (${EXECUTOR_WORDS[executor]}): ${missing.join('; ')}.`] : []
  })
  return sentences.join(' ')
}
