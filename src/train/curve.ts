import { escapeXml } from '../text/xml.ts'
import { isStep, isValidation, type LogRecord, type StepRecord } from './log.ts'

const WIDTH = 800
const PANEL_HEIGHT = 240
const MARGIN = { left: 56, right: 150, top: 34, bottom: 40 }
/** A step's own loss is noise: each point of a line is the mean of its share of the steps. */
const POINTS = 200
/** Okabe and Ito's colours, told apart by the colour-blind too. */
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9']

interface Line {
  label: string
  color: string
  points: [x: number, y: number][]
  dashed?: boolean
  /** Marks the points, where there are few. */
  dots?: boolean
}

/** The log as a picture: losses above, below the shares of the least and the most used expert of each layer. */
export function curveSvg(log: LogRecord[], title: string): string {
  const steps = log.filter(isStep)
  const last = steps.at(-1)?.step ?? 1
  const layers = steps[0]?.load.length ?? 0
  const panels = [
    panel('loss, nats a token', lossLines(log), last, 0),
    ...(layers > 0
      ? [panel('share of assignments: most and least used expert', loadLines(steps), last, 1)]
      : []),
  ]
  const height = panels.length * PANEL_HEIGHT + 24
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<title>Losses and expert loads of a training: ${escapeXml(title)}</title>
<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="${MARGIN.left}" y="18" font-size="14" font-weight="bold">${escapeXml(title)}</text>
${panels.join('\n')}
</svg>
`
}

function lossLines(log: LogRecord[]): Line[] {
  const points = log.filter(isValidation).map(({ step, validation }): [number, number] => [step, validation])
  return [
    { label: 'training', color: COLORS[0], points: averaged(log.filter(isStep), (r) => r.crossEntropy) },
    { label: 'validation', color: COLORS[1], points, dots: true },
  ]
}

function loadLines(steps: StepRecord[]): Line[] {
  const lines = steps[0].load.flatMap((_, layer) => {
    const color = COLORS[layer % COLORS.length]
    return [
      {
        label: `mixture layer ${layer + 1}`,
        color,
        points: averaged(steps, (r) => Math.max(...r.load[layer])),
      },
      { label: '', color, points: averaged(steps, (r) => Math.min(...r.load[layer])) },
    ]
  })
  const even = 1 / steps[0].load[0].length
  const ends = [steps[0].step, steps.at(-1)!.step]
  const points = ends.map((step): [number, number] => [step, even])
  return [...lines, { label: 'even', color: '#555', points, dashed: true }]
}

/** Means of up to POINTS equal parts of the steps. */
function averaged(steps: StepRecord[], value: (record: StepRecord) => number): [number, number][] {
  const size = Math.max(1, Math.ceil(steps.length / POINTS))
  return Array.from({ length: Math.ceil(steps.length / size) }, (_, i) => {
    const part = steps.slice(i * size, (i + 1) * size)
    const sum = part.reduce((total, record) => total + value(record), 0)
    return [part[Math.floor(part.length / 2)].step, sum / part.length]
  })
}

function panel(label: string, lines: Line[], lastStep: number, row: number): string {
  const top = row * PANEL_HEIGHT + MARGIN.top + 10
  const bottom = (row + 1) * PANEL_HEIGHT + 24 - MARGIN.bottom
  const right = WIDTH - MARGIN.right
  const values = lines.flatMap(({ points }) => points.map(([, y]) => y))
  const ticks = ticksFor(Math.max(...values, 0))
  const x = (step: number) => MARGIN.left + ((right - MARGIN.left) * step) / lastStep
  const y = (value: number) => bottom - ((bottom - top) * value) / ticks.at(-1)!
  const grid = ticks.map(
    (tick) =>
      `<line x1="${MARGIN.left}" x2="${right}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}" stroke="#ddd"/>` +
      `<text x="${MARGIN.left - 6}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${tick}</text>`,
  )
  const named = lines.filter(({ label }) => label)
  const legend = named.map(({ label, color }, i) => {
    const at = top + 6 + 18 * i
    return (
      `<line x1="${right + 12}" x2="${right + 30}" y1="${at}" y2="${at}" stroke="${color}" stroke-width="3"/>` +
      `<text x="${right + 36}" y="${at + 4}">${label}</text>`
    )
  })
  return [
    ...grid,
    `<text x="${MARGIN.left}" y="${top - 10}">${label}</text>`,
    `<text x="${MARGIN.left}" y="${bottom + 18}">0</text>`,
    `<text x="${right}" y="${bottom + 18}" text-anchor="end">${lastStep} steps</text>`,
    ...lines.map((line) => polyline(line, x, y)),
    ...legend,
  ].join('\n')
}

function polyline(
  { points, color, dashed, dots }: Line,
  x: (step: number) => number,
  y: (value: number) => number,
): string {
  const places = points.map(([step, value]) => [x(step).toFixed(1), y(value).toFixed(1)])
  const dash = dashed ? ' stroke-dasharray="4 4"' : ''
  const circles = dots
    ? places.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="2.5" fill="${color}"/>`)
    : []
  const path = places.map((place) => place.join(',')).join(' ')
  return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="1.5"${dash}/>${circles.join('')}`
}

/** Round numbers from 0 to at least `max`, four to six of them. */
function ticksFor(max: number): number[] {
  const rough = (max || 1) / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough)!
  return Array.from({ length: Math.ceil(max / step) + 1 }, (_, i) => Number((i * step).toPrecision(6)))
}
