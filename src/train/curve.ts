import * as Plot from '@observablehq/plot'
import { composedFile, plotElement, type Svg } from '../text/plot.ts'
import { escapeXml } from '../text/xml.ts'
import { isStep, isValidation, type LogRecord, type StepRecord } from './log.ts'

const WIDTH = 800
const PANEL_HEIGHT = 240
/** For the title. */
const HEAD = 24
const FONT = { 'font-family': 'sans-serif', 'font-size': '12' }
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
  const panels = [panel('loss, nats a token', lossLines(log), last)]
  if (steps[0]?.load.length > 0)
    panels.push(panel('share of assignments: most and least used expert', loadLines(steps), last))
  const height = HEAD + panels.length * PANEL_HEIGHT
  return composedFile({
    width: WIDTH,
    height,
    title: `Losses and expert loads of a training: ${title}`,
    attributes: FONT,
    below: `<rect width="${WIDTH}" height="${height}" fill="#fff"/>
<text x="56" y="18" font-size="14" font-weight="bold">${escapeXml(title)}</text>`,
    plots: panels.map((svg, row) => ({ x: 0, y: HEAD + row * PANEL_HEIGHT, svg })),
  })
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
    const most = averaged(steps, (r) => Math.max(...r.load[layer]))
    const least = averaged(steps, (r) => Math.min(...r.load[layer]))
    return [
      { label: `mixture layer ${layer + 1}`, color, points: most },
      { label: '', color, points: least },
    ]
  })
  const even = 1 / steps[0].load[0].length
  const points = [steps[0].step, steps.at(-1)!.step].map((step): [number, number] => [step, even])
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

function panel(label: string, lines: Line[], lastStep: number): Svg {
  const top = Math.max(0, ...lines.flatMap(({ points }) => points.map(([, y]) => y)))
  const legend = { frameAnchor: 'top-right', textAnchor: 'start', dx: 12 } as const
  return plotElement({
    width: WIDTH,
    height: PANEL_HEIGHT,
    marginLeft: 56,
    marginRight: 150,
    marginTop: 30,
    marginBottom: 36,
    style: { background: 'none', fontSize: '12px', fontFamily: 'sans-serif' },
    x: { domain: [0, lastStep], label: 'steps', labelAnchor: 'center', labelArrow: 'none', ticks: 6 },
    y: { domain: [0, top], nice: true, label, labelArrow: 'none', grid: true, ticks: 5 },
    marks: [
      ...lines.flatMap(({ points, color: stroke, dashed, dots }) => [
        Plot.line(points, { stroke, strokeDasharray: dashed ? '4 4' : undefined }),
        ...(dots ? [Plot.dot(points, { fill: stroke, r: 2.5 })] : []),
      ]),
      ...lines
        .filter((line) => line.label)
        .map((line, i) => Plot.text([`━ ${line.label}`], { ...legend, dy: 18 * i, fill: line.color })),
    ],
  })
}
