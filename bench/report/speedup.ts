import * as Plot from '@observablehq/plot'
import { EXECUTORS, type Executor } from '../../src/load-model.ts'
import type { BenchReport, Row } from '../schema.ts'
import { byDispatch, highest, panel, SPEEDUP_MARGIN, speedupMarks, tokenAxis, upright } from './charts.ts'
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
  plannedSweep,
} from './select.ts'

/** Speed-up over dense beside the ideal, and the gap between them by part. */
export function speedupSection(report: BenchReport): Section {
  const gaps = gapsOf(report)
  const shown = executorsOf(report, 'layer')
    .map((executor) => ({ executor, rows: comparedWithDense(plannedSweep(report, executor)) }))
    .filter(({ rows }) => rows.length > 0)
  const rows = shown.flatMap((one) => one.rows)
  const planned = EXECUTORS.flatMap((executor) => plannedSweep(report, executor))
  return {
    id: 'speed-up',
    title: 'Speed-up against the ideal E/K',
    sentence: `${speedupSentence(shown[0]?.rows ?? [])} ${gapSentence(report, gaps)}`,
    missing:
      rows.length > 0 ? notShown('Not compared with dense', planned.filter(isNotDense), isCompared) : '',
    note: `Lines at the points are 95 % intervals.${gaps.length > 0 ? ' docs/report.md defines the parts of the gap.' : ''}`,
    dispatches: dispatchesIn(rows),
    panels: [
      ...shown.map((one) => speedupPanel(report, one.executor, one.rows, highest(rows))),
      ...(gaps.length > 0 ? [gapPanel(gaps)] : []),
    ],
    ...tableOf(
      [...rows.map(lineOfRow), ...gaps.map(lineOfGap)],
      [
        ['what', ({ what }) => what],
        ['T', ({ tokens }) => String(tokens)],
        ['times as fast', ({ gain }) => fixed(gain)],
        ['95 %', ({ interval }) => interval],
        ['ideal', ({ ideal }) => short(ideal)],
        ...PART_NAMES.map((part): Column<TableLine> => [part, ({ gap }) => partText(gap?.[part]), 'ms']),
        ['sparse', ({ gap }) => partText(gap?.sparseMs), 'ms'],
        ['dense', ({ gap }) => partText(gap?.denseMs), 'ms'],
      ],
    ),
  }
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

function partText(value: number | undefined): string {
  return value === undefined ? UNKNOWN : ms(value)
}

function isNotDense({ dispatch }: Row): boolean {
  return dispatch !== 'dense'
}

function comparedWithDense(rows: Row[]): ComparedRow[] {
  return rows.filter(isCompared).filter(isNotDense)
}

function speedupPanel(report: BenchReport, executor: Executor, rows: ComparedRow[], most: number): Panel {
  const ideal = report.layer.E / report.layer.K
  const { scale, axis, marginBottom } = tokenAxis(
    distinct(plannedSweep(report, executor).map(({ tokens }) => tokens)),
  )
  return panel(
    {
      id: `speed-up-${executor}`,
      caption: `Layer, ${EXECUTOR_WORDS[executor]}`,
      description: `How many times as fast as dense each dispatch is against tokens, beside the ideal ${short(ideal)}.`,
    },
    {
      marginRight: SPEEDUP_MARGIN,
      marginBottom,
      x: scale,
      y: { ...upright('times as fast as dense'), domain: [0, 1.1 * Math.max(most, ideal)], ticks: 6 },
      marks: [
        axis,
        Plot.ruleY([1, ideal], { stroke: 'var(--muted)', strokeDasharray: '5 4' }),
        Plot.text([1, ideal], {
          y: (value: number) => value,
          text: (value: number) => (value === 1 ? 'dense 1' : `ideal ${short(value)}`),
          frameAnchor: 'right',
          textAnchor: 'start',
          dx: 6,
        }),
        ...byDispatch(rows, (own, { colour, dashes }) => [
          Plot.lineY(own, {
            x: 'tokens',
            y: 'speedup',
            stroke: colour,
            strokeOpacity: 0.5,
            strokeDasharray: dashes,
          }),
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
  const share = `${(100 * (best.speedup / best.idealSpeedup)).toFixed(0)} % of the ideal ${short(best.idealSpeedup)}`
  if (slower.length === sparse.length) {
    return `Sparse is slower than dense at every size measured (${how}), at best ${best.speedup.toFixed(2)} times as fast at T=${best.tokens}: ${share}.`
  }
  const places = slower.map(({ tokens, speedup }) => `T=${tokens} (${speedup.toFixed(2)})`)
  const lost = slower.length > 0 ? ` It is slower at ${listed(places)}.` : ''
  return `Sparse is at best ${best.speedup.toFixed(2)} times as fast as dense, at T=${best.tokens} (${how}): ${share}.${lost}`
}

/** A sentence an executor that says which rows of the sweep over T are not shown; empty when all are. */
export function notShown(what: string, rows: readonly Row[], isShown: (row: Row) => boolean): string {
  const sentences = EXECUTORS.flatMap((executor) => {
    const own = rows.filter((row) => row.executor === executor)
    const dispatches = new Map<string, string[]>()
    for (const dispatch of dispatchesIn(own)) {
      const all = own.filter((row) => row.dispatch === dispatch)
      const left = all.filter((row) => !isShown(row))
      if (left.length === 0) continue
      const where =
        left.length === all.length ? 'at all sizes' : `at ${listed(left.map(({ tokens }) => `T=${tokens}`))}`
      dispatches.set(where, [...(dispatches.get(where) ?? []), dispatch])
    }
    const missing = [...dispatches].map(([where, names]) => `${listed(names)} ${where}`)
    return missing.length > 0 ? [`${what} (${EXECUTOR_WORDS[executor]}): ${missing.join('; ')}.`] : []
  })
  return sentences.join(' ')
}
