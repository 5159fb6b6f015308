import * as Plot from '@observablehq/plot'
import { centred, draw, HALO, short } from './charts.ts'
import type { EvalSummary } from './evaluations.ts'
import { listed } from './markup.ts'
import type { PageSection, Panel } from './section.ts'

const HOW =
  'tinymoe eval <dir> --out bench/results/eval-<name>.json makes such a file; the page shows those beside the report.'

/** Loss against FLOPs a token, a point an evaluation. */
export function qualitySection({
  found,
  problems,
}: {
  found: EvalSummary[]
  problems: string[]
}): PageSection {
  const left = problems.length > 0 ? ` Left out: ${problems.join('; ')}.` : ''
  return {
    id: 'quality',
    title: 'Quality against FLOPs',
    sentence:
      found.length === 0
        ? `No evaluation of a model lies beside this report. ${HOW}${left}`
        : `${sentenceOf(found)}${left}`,
    note: 'Loss in nats a token, lower is better, mean over domains of held-out texts; FLOPs of one token by formula, only the chosen experts. Losses compare only between models with the same tokenizer and the same texts. The axis of the loss is cut to the range of these.',
    dispatches: [],
    panels: found.length === 0 ? [] : [qualityPanel(found)],
    table: [
      ['model', 'loss', 'MFLOP a token', 'active parameters', 'total', 'split'],
      ...found.map(({ name, loss, flopsPerToken, active, total, split }) => [
        name,
        loss.toFixed(3),
        short(flopsPerToken / 1e6),
        short(active),
        short(total),
        split,
      ]),
    ],
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
      return Plot.text([point], {
        ...HALO,
        x: 'mflop',
        y: 'loss',
        text: 'name',
        textAnchor: left ? 'end' : 'start',
        dx: left ? -10 : 10,
        dy: at - own,
      })
    })
}

function qualityPanel(found: EvalSummary[]): Panel {
  const points = found.map((one) => ({ ...one, mflop: one.flopsPerToken / 1e6 }))
  const [losses, work] = [points.map(({ loss }) => loss), points.map(({ mflop }) => mflop)]
  const room = 0.15 * (Math.max(...losses) - Math.min(...losses)) || 0.1
  const x = [0, 1.25 * Math.max(...work)]
  const y = [Math.min(...losses) - room, Math.max(...losses) + room]
  const colour = ({ mixture }: EvalSummary) => `var(--${mixture ? 'sparse' : 'dense'})`
  const svg = draw(
    {
      height: HEIGHT,
      marginTop: TOP,
      marginBottom: BOTTOM,
      x: {
        ...centred('MFLOP a token'),
        domain: x,
        ticks: 6,
        tickFormat: short,
      },
      y: {
        label: 'loss, nats a token',
        labelArrow: 'none',
        domain: y,
        grid: true,
        ticks: 6,
      },
      marks: [
        Plot.dot(
          points.filter(({ mixture }) => mixture),
          { x: 'mflop', y: 'loss', r: 5, fill: colour, title: hint },
        ),
        Plot.dot(
          points.filter(({ mixture }) => !mixture),
          { x: 'mflop', y: 'loss', r: 5, fill: colour, symbol: 'square', title: hint },
        ),
        ...namesOf(points, y, x[1]),
      ],
    },
    {
      id: 'loss',
      title: 'Loss against FLOPs of a token',
      description: listed(
        points.map(({ name, loss, mflop }) => `${name}: loss ${loss.toFixed(3)}, ${short(mflop)} MFLOP`),
      ),
    },
  )
  return {
    caption: 'Loss against FLOPs of one token',
    svg,
    legend: [
      { colour: 'var(--sparse)', sign: '●', words: 'mixture' },
      { colour: 'var(--dense)', sign: '■', words: 'without experts' },
    ],
  }
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
