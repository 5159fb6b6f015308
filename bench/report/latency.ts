import * as Plot from '@observablehq/plot'
import { EXECUTORS, type Executor } from '../../src/load-model.ts'
import type { BenchReport } from '../schema.ts'
import { draw, logScale, tokenScale } from './charts.ts'
import { listed } from './markup.ts'
import {
  dispatchesIn,
  distinct,
  EXECUTOR_WORDS,
  executorsOf,
  isTimed,
  notShown,
  plannedSweep,
  sweepOf,
  type TimedRow,
} from './page-select.ts'
import { colourOf, LOOKS } from './palette.ts'
import type { PageSection, Panel } from './section.ts'
import type { Cells } from './tables.ts'

/** Latency of the layer against tokens, a panel an executor. */
export function latencySection(report: BenchReport): PageSection {
  const executors = executorsOf(report, 'layer').filter((name) => sweepOf(report, name).length > 0)
  const all = executors.flatMap((executor) => sweepOf(report, executor))
  const planned = EXECUTORS.flatMap((executor) => plannedSweep(report, executor))
  const { D, H, E, K } = report.layer
  return {
    id: 'latency',
    title: 'Latency against tokens',
    sentence: sentenceOf(report, executors),
    missing: executors.length > 0 ? notShown('Not measured', planned, isTimed) : '',
    note: `Time of one call of one layer (D=${D} H=${H} E=${E} K=${K}) on T tokens: the line is the median, the band runs from the tenth to the ninetieth percentile. Both axes are logarithmic: a slope of 1 is time in proportion to tokens, a flat line is time that does not depend on them.`,
    dispatches: dispatchesIn(all),
    panels: executors.map((executor) => latencyPanel(report, executor, all)),
    table: tableOf(all),
  }
}

/** All panels have the same scales, those of `all`. */
function latencyPanel(report: BenchReport, executor: Executor, all: TimedRow[]): Panel {
  const rows = sweepOf(report, executor)
  const times = all.flatMap(({ p10Ms, p90Ms }) => [p10Ms, p90Ms])
  const tokens = distinct(plannedSweep(report, executor).map((row) => row.tokens))
  const svg = draw(
    {
      x: tokenScale(tokens),
      y: {
        ...logScale(Math.min(...times) / 1.2, Math.max(...times) * 1.2),
        label: 'ms',
        labelArrow: 'none',
        grid: true,
      },
      marks: [
        ...dispatchesIn(rows).flatMap((dispatch) => {
          const line = rows.filter((row) => row.dispatch === dispatch)
          const color = colourOf(dispatch)
          return [
            Plot.areaY(line, {
              x: 'tokens',
              y1: 'p10Ms',
              y2: 'p90Ms',
              fill: color,
              fillOpacity: 0.18,
              className: 'band',
            }),
            Plot.lineY(line, {
              x: 'tokens',
              y: 'medianMs',
              stroke: color,
              strokeWidth: 2,
              strokeDasharray: LOOKS[dispatch].dashes,
            }),
            Plot.dot(line, {
              x: 'tokens',
              y: 'medianMs',
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
      id: `latency-${executor}`,
      title: `Latency against tokens, ${EXECUTOR_WORDS[executor]}`,
      description: `Median milliseconds of one call by dispatch at ${listed(tokens.map((T) => `T=${T}`))}; the table below has the numbers.`,
    },
  )
  return { caption: `Layer, ${EXECUTOR_WORDS[executor]}`, svg }
}

function hint({ dispatch, executor, tokens, medianMs, p10Ms, p90Ms, n }: TimedRow): string {
  return `${dispatch}, ${executor}, T=${tokens}: ${ms(medianMs)} ms (${ms(p10Ms)} to ${ms(p90Ms)}, n=${n})`
}

function sentenceOf(report: BenchReport, executors: Executor[]): string {
  if (executors.length === 0) return 'No call of the layer was timed, so there is no latency to show.'
  const rows = sweepOf(report, executors[0])
  const of = (dispatch: string) => rows.filter((row) => row.dispatch === dispatch)
  const said = of('dense').flatMap((dense) => {
    const sparse = of('sparse').find(({ tokens }) => tokens === dense.tokens)
    return sparse ? [`${ms(dense.medianMs)} against ${ms(sparse.medianMs)} ms at T=${dense.tokens}`] : []
  })
  if (said.length === 0)
    return 'Dense and sparse were not both timed at any size, so there is nothing to compare here.'
  return `Dense against sparse, ${EXECUTOR_WORDS[executors[0]]}: ${listed(said)}.${growth(of('sparse'))}`
}

/** How time grows with tokens, from the fewest to the most. */
function growth(sparse: TimedRow[]): string {
  const [first, last] = [sparse[0], sparse[sparse.length - 1]]
  if (!first || first === last) return ''
  const more = last.tokens / first.tokens
  const longer = last.medianMs / first.medianMs
  return ` With ${Number(more.toFixed(1))} times as many tokens sparse takes ${Number(longer.toPrecision(3))} times as long.`
}

function tableOf(rows: TimedRow[]): Cells {
  return [
    ['dispatch', 'executor', 'T', 'median ms', 'p10', 'p90', 'n'],
    ...rows.map(({ dispatch, executor, tokens, medianMs, p10Ms, p90Ms, n }) => [
      dispatch,
      executor,
      String(tokens),
      ms(medianMs),
      ms(p10Ms),
      ms(p90Ms),
      String(n),
    ]),
  ]
}

/** Three digits. */
export function ms(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}
