import * as Plot from '@observablehq/plot'
import { centred, HALO, panel, upright } from './charts.ts'
import type { EvalSummary, Evaluations } from './evaluations.ts'
import { listed, short } from './format.ts'
import { type Panel, type Section, tableOf } from './section.ts'

const HOW =
  'tinymoe eval <dir> --out bench/results/eval-<name>.json makes such a file; the page shows those beside the report.'

/** Loss against FLOPs a token, a point an evaluation. */
export function qualitySection({ found, problems }: Evaluations): Section {
  const left = problems.length > 0 ? ` Left out: ${problems.join('; ')}.` : ''
  const none = `No evaluation of a model lies beside this report. ${HOW}`
  return {
    id: 'quality',
    title: 'Quality against FLOPs',
    sentence: `${found.length > 0 ? sentenceOf(found) : none}${left}`,
    note: 'Nats a token on held-out texts, mean of the domains: lower is better, and only models with the same tokenizer and texts compare.',
    panels: found.length > 0 ? [qualityPanel(found)] : [],
    ...tableOf(found, [
      ['model', ({ name }) => name],
      ['loss', ({ loss }) => loss.toFixed(3)],
      ['MFLOP a token', ({ flopsPerToken }) => short(flopsPerToken / 1e6)],
      ['active parameters', ({ active }) => short(active)],
      ['total', ({ total }) => short(total)],
      ['split', ({ split }) => split],
    ]),
  }
}

const [HEIGHT, TOP, BOTTOM] = [300, 24, 40]
/** Pixels from one name to the next at least. */
const NAME_HEIGHT = 15

type Point = EvalSummary & { mflop: number }

/** Names beside their points, moved down where one would lie on another; left of the points that are far right. */
function namesOf(points: Point[], [least, most]: number[], farRight: number): Plot.Markish[] {
  const pixels = (HEIGHT - TOP - BOTTOM) / (most - least)
  let free = 0
  return points
    .toSorted((a, b) => b.loss - a.loss)
    .map((point) => {
      const own = (most - point.loss) * pixels
      const at = Math.max(own, free)
      free = at + NAME_HEIGHT
      const left = point.mflop > 0.6 * farRight
      const side = left
        ? ({ textAnchor: 'end', dx: -10 } as const)
        : ({ textAnchor: 'start', dx: 10 } as const)
      return Plot.text([point], { ...HALO, x: 'mflop', y: 'loss', text: 'name', dy: at - own, ...side })
    })
}

function qualityPanel(found: EvalSummary[]): Panel {
  const points = found.map((one) => ({ ...one, mflop: one.flopsPerToken / 1e6 }))
  const losses = points.map(({ loss }) => loss)
  const room = 0.15 * (Math.max(...losses) - Math.min(...losses)) || 0.1
  const x = [0, 1.25 * Math.max(...points.map(({ mflop }) => mflop))]
  const y = [Math.min(...losses) - room, Math.max(...losses) + room]
  const looks = [
    { mixture: true, colour: 'var(--sparse)', symbol: 'circle', sign: '●', words: 'mixture' },
    { mixture: false, colour: 'var(--dense)', symbol: 'square', sign: '■', words: 'without experts' },
  ] as const
  return panel(
    {
      id: 'loss',
      caption: 'Loss against FLOPs of one token',
      legend: [...looks],
    },
    {
      height: HEIGHT,
      marginTop: TOP,
      marginBottom: BOTTOM,
      x: { ...centred('MFLOP a token'), domain: x, ticks: 6, tickFormat: short },
      y: upright('loss, nats a token', { domain: y, ticks: 6 }),
      marks: [
        ...looks.map(({ mixture, colour, symbol }) =>
          Plot.dot(
            points.filter((point) => point.mixture === mixture),
            { x: 'mflop', y: 'loss', r: 5, fill: colour, symbol, title: hint },
          ),
        ),
        ...namesOf(points, y, x[1]),
      ],
    },
  )
}

function hint({ name, loss, flopsPerToken, active, total }: EvalSummary): string {
  return `${name}: loss ${loss.toFixed(3)}, ${short(flopsPerToken / 1e6)} MFLOP a token, ${short(active)} active of ${short(total)} parameters`
}

/** The best mixture beside every model without experts, whichever is better. */
function sentenceOf(found: EvalSummary[]): string {
  const byLoss = found.toSorted((a, b) => a.loss - b.loss)
  const best = byLoss.find(({ mixture }) => mixture)
  const plain = byLoss.filter(({ mixture }) => !mixture)
  if (!best || plain.length === 0) {
    const [first] = byLoss
    return `Of ${found.length} evaluated, ${first.name} has the lowest loss, ${first.loss.toFixed(3)}, at ${short(first.flopsPerToken / 1e6)} MFLOP a token; there is no ${best ? 'model without experts' : 'mixture'} to compare it with.`
  }
  const compared = plain.map((one) => {
    const how = best.loss < one.loss ? 'lower than' : best.loss > one.loss ? 'higher than' : 'the same as'
    return `${how} the ${one.loss.toFixed(3)} of ${one.name} at ${short(best.flopsPerToken / one.flopsPerToken)} times its FLOPs a token`
  })
  return `The best mixture, ${best.name}, has a loss of ${best.loss.toFixed(3)}: ${listed(compared)}.`
}
