import * as Plot from '@observablehq/plot'
import { ALL_DISPATCHES } from '../schema.ts'
import { centred, panel, upright } from './chart.ts'
import type { EvalSummary, Evaluations } from './evaluations.ts'
import { short } from './format.ts'
import { colourOf } from './palette.ts'
import { type Panel, type Section, tableOf } from './section.ts'

const HOW =
  'No evaluation of a model lies beside this report: tinymoe eval <dir> --out bench/results/eval-<name>.json makes one.'

/** Loss against FLOPs a token, a point an evaluation. */
export function qualitySection({ found, problems }: Evaluations): Section {
  const left = problems.length > 0 ? ` Left out: ${problems.join('; ')}.` : ''
  const what = 'Nats a token on held-out texts; only models with the same tokenizer and texts compare.'
  const byLoss = found.toSorted((a, b) => a.loss - b.loss)
  return {
    id: 'quality',
    title: 'Quality against FLOPs',
    sentence: `${found.length > 0 ? what : HOW}${left}`,
    panels: found.length > 0 ? [qualityPanel(byLoss)] : [],
    ...tableOf(byLoss, [
      ['model', ({ name }) => name],
      ['loss', ({ loss }) => loss.toFixed(3)],
      ['MFLOP a token', ({ flopsPerToken }) => short(flopsPerToken / 1e6)],
      ['active parameters', ({ active }) => short(active)],
      ['total', ({ total }) => short(total)],
      ['split', ({ split }) => split],
    ]),
  }
}

/** Each evaluation in a colour of its own; a square has no experts. */
function qualityPanel(found: EvalSummary[]): Panel {
  const points = found.map((one, i) => ({
    ...one,
    mflop: one.flopsPerToken / 1e6,
    colour: colourOf(ALL_DISPATCHES[i % ALL_DISPATCHES.length]),
    words: `${one.name}, loss ${one.loss.toFixed(3)}`,
    ...(one.mixture ? { symbol: 'circle' as const, sign: '●' } : { symbol: 'square' as const, sign: '■' }),
  }))
  const mark = (point: (typeof points)[number]) => {
    const { symbol, colour: fill, mflop, active, total } = point
    const title = `${point.words}, ${short(mflop)} MFLOP a token, ${short(active)} active of ${short(total)} parameters`
    return Plot.dot([point], { x: 'mflop', y: 'loss', r: 5, fill, symbol, title: () => title })
  }
  return panel(
    { id: 'loss', caption: 'Loss against FLOPs of one token', legend: points },
    {
      x: { ...centred('MFLOP a token'), zero: true, nice: true, ticks: 6, tickFormat: short },
      y: upright('loss, nats a token', { inset: 20, ticks: 6 }),
      marks: points.map(mark),
    },
  )
}
