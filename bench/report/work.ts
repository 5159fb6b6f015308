import type { BenchReport, Row } from '../schema.ts'
import { barsPanel } from './chart.ts'
import { short, UNKNOWN } from './format.ts'
import { colourOf } from './palette.ts'
import { type Section, tableOf } from './section.ts'
import { dispatchesIn, firstCase, plannedSweep } from './select.ts'

/** FLOPs a token and bytes a call, by dispatch: known from shapes and counted, whether or not a row was timed. */
export function workSection(report: BenchReport): Section {
  const { rows, conditions, model } = report
  const ofLayer = plannedSweep(report)
  const ofModel = (['prefill', 'decode'] as const).flatMap((kind) =>
    firstCase(rows, kind, conditions.executor),
  )
  // A token costs the same at every T, but for the one dispatch that is only run at few.
  const atMost = dispatchesIn(ofLayer).map(
    (name) => ofLayer.filter(({ dispatch }) => dispatch === name).at(-1)!,
  )
  const caseOf = ({ kind }: Row) => kind
  const [flops, bytes] = ['MFLOP a token', 'MB of weights read in a call']
  return {
    id: 'work',
    title: 'FLOPs and bytes',
    sentence: 'Many tokens touch every expert: then sparse saves FLOPs and no bytes.',
    dispatches: dispatchesIn([...ofLayer, ...ofModel]),
    panels: [
      ...workPanel('flops-layer', `Layer: ${flops}`, 'MFLOP', atMost, flopsPerToken, caseOf),
      ...workPanel('bytes-layer', `Layer: ${bytes}`, 'MB', ofLayer, bytesOf, ({ tokens }) => `T=${tokens}`),
      ...workPanel('flops-model', `Model ${model.name}: ${flops}`, 'MFLOP', ofModel, flopsPerToken, caseOf),
      ...workPanel('bytes-model', `Model ${model.name}: ${bytes}`, 'MB', ofModel, bytesOf, caseOf),
    ],
    ...tableOf(
      [...ofLayer, ...ofModel],
      [
        ['row', ({ id }) => id],
        ['tokens', ({ tokens }) => String(tokens)],
        ['MFLOP a token, formula', ({ flops, tokens }) => short(flops / tokens / 1e6)],
        ['counted', (row) => (row.flopsCounted === null ? UNKNOWN : short(flopsPerToken(row) / 1e6))],
        ['MB of weights a call', (row) => short(bytesOf(row) / 1e6)],
      ],
    ),
  }
}

/** By formula where a row was left out. */
function flopsPerToken({ flops, flopsCounted, tokens }: Row): number {
  return (flopsCounted ?? flops) / tokens
}

/** Known of every case of one layer or of the model as it is loaded. */
function bytesOf({ weightBytes }: Row): number {
  return weightBytes as number
}

/** An amount of each row in millions, in groups. */
function workPanel(
  id: string,
  caption: string,
  unit: string,
  rows: Row[],
  amount: (row: Row) => number,
  groupOf: (row: Row) => string,
) {
  const ordered = dispatchesIn(rows).flatMap((name) => rows.filter(({ dispatch }) => dispatch === name))
  const bars = ordered.map((row) => {
    const { dispatch: name } = row
    const [group, value] = [groupOf(row), amount(row) / 1e6]
    return { group, name, colour: colourOf(name), value, title: `${group}, ${name}: ${short(value)} ${unit}` }
  })
  return barsPanel({ id, caption }, bars, unit)
}
