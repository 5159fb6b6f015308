import * as Plot from '@observablehq/plot'
import { extent, mean } from 'd3-array'
import { composedFile, plotElement, type Svg } from '../../src/text/plot.ts'
import { PRESET_NAMES, type PresetName } from '../../src/train/presets.ts'
import type { Budget } from '../study/plan.ts'
import type { Quality } from './read.ts'

/** Of middle lightness and on no background, so that the picture reads on a light and a dark page. */
const COLORS: Record<PresetName, string> = {
  moe: '#3d8fd1',
  deepseek: '#a371d8',
  'dense-active': '#d9822b',
  'dense-total': '#3aa06b',
}
const LINE = '#7d8590'
const FONT = { fontFamily: 'system-ui, sans-serif', fontSize: '13px' }
const PANEL = { width: 400, height: 250, marginTop: 34, marginBottom: 44, marginLeft: 52, marginRight: 16 }
/** Title and legend above the panels. */
const HEAD = 58
/** Names of three presets that cost the same would lie on one another: each has its place around the true one. */
const SIDESTEP: Record<PresetName, number> = {
  moe: -8,
  deepseek: 0,
  'dense-active': 8,
  'dense-total': 0,
}
/** Pixels of a line at a mean, either way. */
const HALF_LINE = 9

/** A preset in a panel: a loss a seed, and what the seeds had in common. The shipped models had the same tokens. */
type Point = ReturnType<typeof shippedPoints>[number]

const AXES = [
  { x: 'flopsPerToken', label: 'million matrix FLOPs a token' },
  { x: 'totalParameters', label: 'million parameters in all' },
] as const

/** Loss against FLOPs a token (left) and against all parameters (right): shipped models above, seeds of the small ones below. */
export function qualityPicture(quality: Quality): string {
  const seeds = extent(cellsOf(quality), ({ values }) => values.length).map(String)
  const { size, facts } = (quality.study ?? quality.factsStudy)?.conditions ?? {}
  const rows = [
    { title: 'Shipped models, one training each, equal tokens', points: shippedPoints(quality) },
    {
      title: `Size ${size}${facts ? ', with facts' : ''}, seeds (dots, ${[...new Set(seeds)].join(' to ')} of each) and mean (line)`,
      points: studyPoints(quality),
    },
  ].filter(({ points }) => points.length > 0)
  const drawn = rows.flatMap(({ points }) => points)
  const names = PRESET_NAMES.filter((name) => drawn.some(({ preset }) => preset === name))
  const keys = [
    ...names.map((name) => ({ text: `● ${name}`, fill: COLORS[name] })),
    ...(drawn.some(({ budget }) => budget === 'compute')
      ? [{ text: '○ at equal training compute, else equal tokens', fill: LINE }]
      : []),
  ]
  return composedFile({
    width: AXES.length * PANEL.width,
    height: HEAD + rows.length * PANEL.height,
    title: 'Loss of the models against FLOPs a token and against parameters',
    attributes: { 'font-family': FONT.fontFamily, 'font-size': '13', fill: LINE },
    below: `<text x="12" y="20" font-size="15" font-weight="bold">Loss on held-out texts, nats a token (lower is better; models at one place stand side by side)</text>
${keys.map(({ text, fill }, i) => `<text x="${12 + 120 * i}" y="44" fill="${fill}">${text}</text>`).join('\n')}`,
    plots: rows.flatMap(({ title, points }, row) =>
      AXES.map(({ x, label }, column) => ({
        x: column * PANEL.width,
        y: HEAD + row * PANEL.height,
        svg: panel(points, x, label, column === 0 ? title : ''),
      })),
    ),
  })
}

function shippedPoints({ shipped }: Quality) {
  return shipped.map(({ preset, report: { loss, cost } }) => ({
    preset: preset as PresetName,
    budget: 'tokens' as Budget,
    losses: [loss.mean],
    flopsPerToken: cost.flopsPerToken,
    totalParameters: cost.parameters.total,
  }))
}

/** Of the study without facts, where it was run, else of the one with them. */
function cellsOf({ study, factsStudy }: Quality) {
  return (study ?? factsStudy)?.cells ?? []
}

/** At equal compute only those that trained on other tokens than at equal tokens: the others would lie on themselves. */
function studyPoints(quality: Quality): Point[] {
  const cells = cellsOf(quality)
  const tokens = new Map(
    cells.filter(({ budget }) => budget === 'tokens').map((cell) => [cell.preset, cell.tokens]),
  )
  return cells
    .filter(({ budget, preset, tokens: own }) => budget === 'tokens' || tokens.get(preset) !== own)
    .map(({ values, ...cell }) => ({ ...cell, losses: values }))
}

/** Dots of the seeds, filled at equal tokens and hollow at equal compute, and a short line at their mean. */
function panel(points: Point[], x: (typeof AXES)[number]['x'], label: string, title: string): Svg {
  const [least, most] = extent(points.flatMap(({ losses }) => losses)) as [number, number]
  const margin = Math.max(0.02, 0.15 * (most - least))
  const end = (1.12 * Math.max(...points.map((point) => point[x]))) / 1e6
  const half = (HALF_LINE * end) / (PANEL.width - PANEL.marginLeft - PANEL.marginRight)
  const marks = points.flatMap((point) => {
    const [stroke, dx, at] = [COLORS[point.preset], SIDESTEP[point.preset], point[x] / 1e6]
    const fill = point.budget === 'tokens' ? { fill: stroke, fillOpacity: 0.75 } : { fill: 'none' }
    const means = point.losses.length > 1 ? [mean(point.losses)] : []
    return [
      Plot.dot(point.losses, {
        x: () => at,
        y: (loss: number) => loss,
        dx,
        r: 4,
        stroke,
        strokeWidth: 1.5,
        ...fill,
      }),
      Plot.ruleY(means, { x1: at - half, x2: at + half, dx, stroke, strokeWidth: 2 }),
    ]
  })
  return plotElement({
    ...PANEL,
    style: { ...FONT, color: LINE, background: 'none' },
    x: { domain: [0, end], label, labelAnchor: 'center', labelArrow: 'none', ticks: 5 },
    y: { domain: [least - margin, most + margin], label: null, ticks: 5, tickFormat: '.2f', grid: true },
    marks: [
      Plot.frame({ stroke: LINE, strokeOpacity: 0.3 }),
      ...marks,
      Plot.text([title], {
        frameAnchor: 'top-left',
        textAnchor: 'start',
        dx: -40,
        dy: -26,
        fill: 'currentColor',
      }),
    ],
  })
}
