import * as Plot from '@observablehq/plot'
import type { BenchReport, Dispatch, Row } from '../schema.ts'
import { centred, panel } from './charts.ts'
import { listed, percent, short, UNKNOWN } from './format.ts'
import { colourOf } from './palette.ts'
import { type Panel, type Section, tableOf } from './section.ts'
import { dispatchesIn, firstCase, plannedSweep } from './select.ts'

interface Bar {
  /** Bars stand together by this. */
  of: string
  dispatch: Dispatch
  value: number
}

/** FLOPs a token and bytes a call, by dispatch: known from shapes and counted, whether or not a row was timed. */
export function workSection(report: BenchReport): Section {
  const { rows, conditions, model } = report
  const ofLayer = plannedSweep(report)
  const ofModel = (['prefill', 'decode'] as const).flatMap((kind) =>
    firstCase(rows, kind, conditions.executor),
  )
  const bars = (some: Row[], value: (row: Row) => number, of: (row: Row) => string): Bar[] =>
    some.map((row) => ({ of: of(row), dispatch: row.dispatch, value: value(row) / 1e6 }))
  const bytes = ({ weightBytes }: Row) => weightBytes
  // A token costs the same at every T, but for the one dispatch that is only run at few.
  const atMost = dispatchesIn(ofLayer).map(
    (name) => ofLayer.filter(({ dispatch }) => dispatch === name).at(-1)!,
  )
  const perToken = bars(atMost, flopsPerToken, () => 'layer')
  const perCall = bars(ofLayer, bytes, ({ tokens }) => `T=${tokens}`)
  return {
    id: 'work',
    title: 'FLOPs and bytes',
    sentence: sentenceOf(ofLayer),
    note: 'Many tokens touch every expert: then sparse saves FLOPs and no bytes.',
    dispatches: dispatchesIn([...ofLayer, ...ofModel]),
    panels: [
      ...barsPanel('flops-layer', 'Layer: MFLOP a token', perToken),
      ...barsPanel('bytes-layer', 'Layer: MB of weights read in a call', perCall),
      ...barsPanel('flops-model', `Model ${model.name}: MFLOP a token`, bars(ofModel, flopsPerToken, kindOf)),
      ...barsPanel(
        'bytes-model',
        `Model ${model.name}: MB of weights read in a call`,
        bars(ofModel, bytes, kindOf),
      ),
    ],
    ...tableOf(
      [...ofLayer, ...ofModel],
      [
        ['row', ({ id }) => id],
        ['tokens', ({ tokens }) => String(tokens)],
        ['MFLOP a token, formula', ({ flops, tokens }) => short(flops / tokens / 1e6)],
        ['counted', (row) => (row.flopsCounted === null ? UNKNOWN : short(flopsPerToken(row) / 1e6))],
        ['MB of weights a call', ({ weightBytes }) => short(weightBytes / 1e6)],
      ],
    ),
  }
}

function kindOf({ kind }: Row): string {
  return kind
}

/** By formula where a row was left out. */
function flopsPerToken({ flops, flopsCounted, tokens }: Row): number {
  return (flopsCounted ?? flops) / tokens
}

function barsPanel(id: string, caption: string, bars: Bar[]): Panel[] {
  if (bars.length === 0) return []
  const unit = /MFLOP|MB/.exec(caption)![0]
  const groups = [...new Set(bars.map(({ of }) => of))]
  const text = ({ value }: Bar) => short(value)
  const at = { fy: 'of', y: 'dispatch', x: 'value' } as const
  return [
    panel(
      { id, caption },
      {
        height: 64 + Math.max(bars.length * 17 + groups.length * 10, 60),
        marginLeft: 62,
        marginRight: 56,
        x: {
          ...centred(unit),
          domain: [0, Math.max(...bars.map(({ value }) => value))],
          ticks: 5,
          tickFormat: short,
          grid: true,
        },
        y: { axis: null, domain: dispatchesIn(bars), padding: 0.12 },
        fy: { label: null, domain: groups, padding: 0.14 },
        marks: [
          Plot.barX(bars, {
            ...at,
            fill: ({ dispatch }: Bar) => colourOf(dispatch),
            title: (bar: Bar) => `${bar.of}, ${bar.dispatch}: ${text(bar)} ${unit}`,
          }),
          Plot.text(bars, { ...at, text, dx: 5, textAnchor: 'start' }),
          Plot.axisFy({ anchor: 'left', label: null }),
          Plot.ruleX([0]),
        ],
      },
    ),
  ]
}

function sentenceOf(layer: Row[]): string {
  const pairs = layer.flatMap((dense) => {
    const sparse = layer.find(({ dispatch, tokens }) => dispatch === 'sparse' && tokens === dense.tokens)
    return dense.dispatch === 'dense' && sparse ? [{ dense, sparse }] : []
  })
  const last = pairs.at(-1)
  if (!last) return 'No layer was measured with dense and sparse, so there is no work to compare.'
  const fewer = flopsPerToken(last.dense) / flopsPerToken(last.sparse)
  const bytes = pairs.map(
    ({ dense, sparse }) => `${percent(sparse.weightBytes / dense.weightBytes)} at T=${dense.tokens}`,
  )
  return `In the layer sparse does ${short(fewer)} times fewer FLOPs than dense; of its bytes of weights it reads ${listed(bytes)}.`
}
