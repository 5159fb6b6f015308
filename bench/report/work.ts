import * as Plot from '@observablehq/plot'
import type { BenchReport, Dispatch, Row } from '../schema.ts'
import { centred, draw, short } from './charts.ts'
import { listed } from './markup.ts'
import { ALL_DISPATCHES, dispatchesIn, distinct } from './page-select.ts'
import { colourOf } from './palette.ts'
import type { PageSection, Panel } from './section.ts'
import { firstCase, subjectOf, tokenSweep } from './select.ts'
import type { Cells } from './tables.ts'

interface Bar {
  /** Bars stand together by this. */
  of: string
  dispatch: Dispatch
  value: number
}

/** FLOPs a token and bytes a call, by dispatch: known from shapes and counted, whether or not a row was timed. */
export function workSection(report: BenchReport): PageSection {
  const layer = layerRows(report)
  const model = modelRows(report)
  const panels = [
    ...panel(
      'flops-layer',
      'Layer: MFLOP a token',
      'MFLOP',
      flopBars(largestOfEach(layer), () => 'layer'),
    ),
    ...panel(
      'bytes-layer',
      'Layer: MB of weights read in a call',
      'MB',
      byteBars(layer, ({ tokens }) => `T=${tokens}`),
    ),
    ...panel(
      'flops-model',
      `Model ${report.model.name}: MFLOP a token`,
      'MFLOP',
      flopBars(model, ({ kind }) => kind),
    ),
    ...panel(
      'bytes-model',
      `Model ${report.model.name}: MB of weights read in a call`,
      'MB',
      byteBars(model, ({ kind }) => kind),
    ),
  ]
  return {
    id: 'work',
    title: 'FLOPs and bytes',
    sentence: sentenceOf(layer),
    note: 'FLOPs are of the matrix products, counted while they ran (by formula where a row was left out); a multiply-add is 2. Bytes are the float32 weights that a call has to read, each once; an expert without tokens is not read. With many tokens every expert has some, so sparse reads as much as dense, and only its FLOPs stay fewer.',
    dispatches: dispatchesIn([...layer, ...model]),
    panels,
    table: tableOf([...layer, ...model]),
  }
}

function layerRows(report: BenchReport): Row[] {
  return ALL_DISPATCHES.flatMap((dispatch) => tokenSweep(report.rows, subjectOf(report), dispatch))
}

function modelRows({ rows, conditions }: BenchReport): Row[] {
  return (['prefill', 'decode'] as const).flatMap((kind) => firstCase(rows, kind, conditions.executor))
}

/** A token costs the same at every T, but for the one dispatch that is only run at few. */
function largestOfEach(rows: Row[]): Row[] {
  return dispatchesIn(rows).map((name) => rows.filter(({ dispatch }) => dispatch === name).at(-1)!)
}

function flopBars(rows: Row[], of: (row: Row) => string): Bar[] {
  return rows.map((row) => ({ of: of(row), dispatch: row.dispatch, value: flopsPerToken(row) / 1e6 }))
}

function byteBars(rows: Row[], of: (row: Row) => string): Bar[] {
  return rows.map((row) => ({ of: of(row), dispatch: row.dispatch, value: row.weightBytes / 1e6 }))
}

function flopsPerToken({ flops, flopsCounted, tokens }: Row): number {
  return (flopsCounted ?? flops) / tokens
}

function panel(id: string, caption: string, unit: string, bars: Bar[]): Panel[] {
  if (bars.length === 0) return []
  const groups = [...new Set(bars.map(({ of }) => of))]
  const dispatches = ALL_DISPATCHES.filter((name) => bars.some(({ dispatch }) => dispatch === name))
  const largest = Math.max(...bars.map(({ value }) => value))
  const svg = draw(
    {
      height: 64 + Math.max(bars.length * 17 + groups.length * 10, 60),
      marginLeft: 62,
      marginRight: 56,
      x: {
        ...centred(unit),
        domain: [0, largest],
        ticks: 5,
        tickFormat: short,
        grid: true,
      },
      y: { axis: null, domain: dispatches, padding: 0.12 },
      fy: { label: null, domain: groups, padding: 0.14 },
      marks: [
        Plot.barX(bars, {
          fy: 'of',
          y: 'dispatch',
          x: 'value',
          fill: ({ dispatch }: Bar) => colourOf(dispatch),
          title: ({ of, dispatch, value }) => `${of}, ${dispatch}: ${short(value)} ${unit}`,
        }),
        Plot.text(bars, {
          fy: 'of',
          y: 'dispatch',
          x: 'value',
          text: ({ value }) => short(value),
          dx: 5,
          textAnchor: 'start',
        }),
        Plot.axisFy({ anchor: 'left', label: null }),
        Plot.ruleX([0]),
      ],
    },
    {
      id,
      title: caption,
      description: listed(bars.map(({ of, dispatch, value }) => `${of} ${dispatch} ${short(value)} ${unit}`)),
    },
  )
  return [{ caption, svg }]
}

function sentenceOf(layer: Row[]): string {
  const of = (name: Dispatch) => layer.filter(({ dispatch }) => dispatch === name)
  const pairs = of('dense').flatMap((dense) => {
    const sparse = of('sparse').find(({ tokens }) => tokens === dense.tokens)
    return sparse ? [{ dense, sparse }] : []
  })
  if (pairs.length === 0)
    return 'No layer was measured with dense and sparse, so there is no work to compare.'
  const last = pairs[pairs.length - 1]
  const fewer = flopsPerToken(last.dense) / flopsPerToken(last.sparse)
  const bytes = distinct(pairs.map(({ dense }) => dense.tokens)).map((T) => {
    const pair = pairs.find(({ dense }) => dense.tokens === T)!
    return `${((100 * pair.sparse.weightBytes) / pair.dense.weightBytes).toFixed(0)} % at T=${T}`
  })
  return `In the layer sparse does ${short(fewer)} times fewer FLOPs than dense at every number of tokens. Of the bytes of weights that dense reads it reads ${listed(bytes)}.`
}

function tableOf(rows: Row[]): Cells {
  return [
    ['row', 'tokens', 'MFLOP a token, formula', 'counted', 'MB of weights a call'],
    ...rows.map((row) => [
      row.id,
      String(row.tokens),
      short(row.flops / row.tokens / 1e6),
      row.flopsCounted === null ? '-' : short(row.flopsCounted / row.tokens / 1e6),
      short(row.weightBytes / 1e6),
    ]),
  ]
}
