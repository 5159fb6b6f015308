import * as Plot from '@observablehq/plot'
import { EXECUTORS, type Executor } from '../../src/load-model.ts'
import type { BenchReport } from '../schema.ts'
import { byDispatch, logScale, panel, tokenAxis } from './charts.ts'
import { listed, ms } from './format.ts'
import { type Panel, type Section, tableOf } from './section.ts'
import {
  dispatchesIn,
  distinct,
  EXECUTOR_WORDS,
  executorsOf,
  isTimed,
  plannedSweep,
  type TimedRow,
} from './select.ts'
import { notShown } from './speedup.ts'

/** Latency of the layer against tokens, a panel an executor. */
export function latencySection(report: BenchReport): Section {
  const shown = executorsOf(report, 'layer')
    .map((executor) => ({ executor, rows: plannedSweep(report, executor).filter(isTimed) }))
    .filter(({ rows }) => rows.length > 0)
  const rows = shown.flatMap((one) => one.rows)
  const planned = EXECUTORS.flatMap((executor) => plannedSweep(report, executor))
  const { D, H, E, K } = report.layer
  return {
    id: 'latency',
    title: 'Latency against tokens',
    sentence: sentenceOf(shown[0]?.rows ?? []),
    missing: rows.length > 0 ? notShown('Not measured', planned, isTimed) : '',
    note: `One call of the layer (D=${D} H=${H} E=${E} K=${K}): median, band from p10 to p90. Slope 1 is time in proportion to tokens, a flat line does not depend on them.`,
    dispatches: dispatchesIn(rows),
    panels: shown.map((one) => latencyPanel(report, one.executor, one.rows, rows)),
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
function latencyPanel(report: BenchReport, executor: Executor, rows: TimedRow[], all: TimedRow[]): Panel {
  const times = all.flatMap(({ p10Ms, p90Ms }) => [p10Ms, p90Ms])
  const tokens = distinct(plannedSweep(report, executor).map((row) => row.tokens))
  const { scale, axis, marginBottom } = tokenAxis(tokens)
  return panel(
    {
      id: `latency-${executor}`,
      caption: `Layer, ${EXECUTOR_WORDS[executor]}`,
      description: `Median milliseconds of one call by dispatch at ${listed(tokens.map((T) => `T=${T}`))}; the table below has the numbers.`,
    },
    {
      marginBottom,
      x: scale,
      y: {
        ...logScale(Math.min(...times) / 1.2, Math.max(...times) * 1.2),
        label: 'ms',
        labelArrow: 'none',
        grid: true,
      },
      marks: [
        axis,
        ...byDispatch(rows, (own, { colour, symbol, dashes }) => [
          Plot.areaY(own, {
            x: 'tokens',
            y1: 'p10Ms',
            y2: 'p90Ms',
            fill: colour,
            fillOpacity: 0.18,
            className: 'band',
          }),
          Plot.lineY(own, {
            x: 'tokens',
            y: 'medianMs',
            stroke: colour,
            strokeWidth: 2,
            strokeDasharray: dashes,
          }),
          Plot.dot(own, { x: 'tokens', y: 'medianMs', fill: colour, symbol, r: 4, title: hint }),
        ]),
      ],
    },
  )
}

function hint({ dispatch, executor, tokens, medianMs, p10Ms, p90Ms, n }: TimedRow): string {
  return `${dispatch}, ${executor}, T=${tokens}: ${ms(medianMs)} ms (${ms(p10Ms)} to ${ms(p90Ms)}, n=${n})`
}

/** At the fewest and the most tokens. */
function sentenceOf(rows: TimedRow[]): string {
  if (rows.length === 0) return 'No call of the layer was timed, so there is no latency to show.'
  const of = (dispatch: string) => rows.filter((row) => row.dispatch === dispatch)
  const said = of('dense').flatMap((dense) => {
    const sparse = of('sparse').find(({ tokens }) => tokens === dense.tokens)
    return sparse ? [`${ms(dense.medianMs)} against ${ms(sparse.medianMs)} ms at T=${dense.tokens}`] : []
  })
  if (said.length === 0)
    return 'Dense and sparse were not both timed at any size, so there is nothing to compare here.'
  return `Dense against sparse, ${EXECUTOR_WORDS[rows[0].executor]}: ${listed([...new Set([said[0], said.at(-1)!])])}.`
}
