import { escapeXml } from '../text/xml.ts'
import { BREAK_EVEN_ELASTICITY, type Rebound } from './rebound.ts'

export interface Bar {
  name: string
  total: number
  active: number
  /** The two numbers as a person reads them. */
  totalText: string
  activeText: string
}

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** A bar of `share` of `width` columns, to an eighth of a column; something that is there shows. */
export function textBar(share: number, width: number): string {
  const eighths = share > 0 ? Math.max(1, Math.round(8 * width * share)) : 0
  return '█'.repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8]
}

/** Total against active, two lines a model, all on one scale. */
export function barLines(bars: Bar[], width: number): string[] {
  const largest = Math.max(...bars.map(({ total }) => total))
  const names = bars.length > 1
  return bars.flatMap(({ name, total, active, totalText, activeText }) => [
    ...(names ? [name] : []),
    `total   ${textBar(total / largest, width)} ${totalText}`,
    `active  ${textBar(active / largest, width)} ${activeText}, ${(100 * (active / total)).toFixed(1)}%`,
  ])
}

/** Light and dark by the reader's setting. */
const STYLE = `
.cost { --ink: #1f2328; --muted: #656d76; --rest: #d0d7de; --active: #f97316; --paper: #ffffff; color-scheme: light dark }
@media (prefers-color-scheme: dark) {
  .cost { --ink: #e6edf3; --muted: #9198a1; --rest: #3d444d; --paper: #0d1117 }
}
.cost text { font: 13px system-ui, sans-serif; fill: var(--ink) }
.cost .muted { fill: var(--muted) }
.cost .paper { fill: var(--paper) }
.cost .rest { fill: var(--rest) }
.cost .active { fill: var(--active) }
.cost .line { stroke: var(--active); stroke-width: 2; fill: none }
.cost .axis { stroke: var(--muted); stroke-dasharray: 3 3 }
.cost .end { text-anchor: end }
.cost .middle { text-anchor: middle }
`

function svg(width: number, height: number, label: string, body: string[]): string {
  return [
    `<svg class="cost" xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(label)}">`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" width="${width}" height="${height}" rx="6"/>`,
    ...body,
    '</svg>\n',
  ].join('\n')
}

const BAR = { width: 640, row: 52, margin: 16, height: 18 }

/** A bar a model: its total, and in it what one token uses. */
export function barPicture(bars: Bar[]): string {
  const { width, row, margin, height } = BAR
  const largest = Math.max(...bars.map(({ total }) => total))
  const full = width - 2 * margin
  const px = (value: number) => Math.max(1, (value / largest) * full).toFixed(1)
  const rows = bars.map(({ name, total, active, totalText, activeText }, i) => {
    const y = margin + i * row
    return [
      `<text x="${margin}" y="${y + 12}">${escapeXml(name)}</text>`,
      `<text class="muted end" x="${width - margin}" y="${y + 12}">${activeText} active of ${totalText}, ${(100 * (active / total)).toFixed(1)}%</text>`,
      `<rect class="rest" x="${margin}" y="${y + 18}" width="${px(total)}" height="${height}" rx="3"/>`,
      `<rect class="active" x="${margin}" y="${y + 18}" width="${px(active)}" height="${height}" rx="3"/>`,
    ].join('')
  })
  return svg(width, 2 * margin + bars.length * row - 8, 'Total and active parameters', rows)
}

const CURVE = { rows: 13, columns: 49 }

/** Rows of the text curve, from the largest spend down; the middle one is "as much as before". */
export function curveLines(curve: Rebound[], marked: Rebound[]): string[] {
  const { rows, columns } = CURVE
  const limit = Math.max(...curve.map(({ spend }) => Math.abs(Math.log(spend)))) || 1
  const max = curve[curve.length - 1].elasticity
  const rowOf = (spend: number) => Math.round(((limit - Math.log(spend)) / (2 * limit)) * (rows - 1))
  const columnOf = (elasticity: number) => Math.round((elasticity / max) * (columns - 1))
  const grid = Array.from({ length: rows }, (_, r) =>
    new Array<string>(columns).fill(r === (rows - 1) / 2 ? '-' : ' '),
  )
  const put = ({ elasticity, spend }: Rebound, sign: string) => {
    const [r, c] = [rowOf(spend), columnOf(elasticity)]
    if (grid[r]?.[c] !== undefined) grid[r][c] = sign
  }
  for (const point of curve) put(point, '*')
  put({ elasticity: BREAK_EVEN_ELASTICITY, use: 1, spend: 1 }, '+')
  for (const point of marked) put(point, 'o')
  const label = (r: number) => multiple(Math.exp(limit - (2 * limit * r) / (rows - 1)))
  return [
    ...grid.map((cells, r) => `${(r % 3 === 0 ? label(r) : '').padStart(9)} |${cells.join('').trimEnd()}`),
    `${' '.repeat(10)}+${'-'.repeat(columns)}`,
    `${' '.repeat(11)}0${'1'.padStart(columnOf(1))}${String(max).padStart(columns - 1 - columnOf(1))}`,
  ]
}

/** `x18.1`, `x0.055`. */
export function multiple(value: number): string {
  return `x${Number(value.toPrecision(3))}`
}

const PLOT = { width: 640, height: 340, left: 70, right: 20, top: 44, bottom: 46 }

/** The curve as SVG: spend on a logarithmic scale over elasticity. */
export function curvePicture(curve: Rebound[], marked: Rebound[], costFactor: number): string {
  const { width, height, left, right, top, bottom } = PLOT
  const limit = Math.max(...curve.map(({ spend }) => Math.abs(Math.log(spend)))) || 1
  const max = curve[curve.length - 1].elasticity
  const x = (elasticity: number) => (left + (elasticity / max) * (width - left - right)).toFixed(1)
  const y = (spend: number) =>
    (top + ((limit - Math.log(spend)) / (2 * limit)) * (height - top - bottom)).toFixed(1)
  const points = curve.map(({ elasticity, spend }) => `${x(elasticity)},${y(spend)}`).join(' ')
  const levels = [-1, -0.5, 0, 0.5, 1].map((share) => Math.exp(share * limit))
  return svg(width, height, 'Total spend by elasticity of demand', [
    `<text x="${left}" y="20">Total spend when cost per token falls to 1/${Number(costFactor.toPrecision(3))} (logarithmic)</text>`,
    ...levels.map(
      (level) =>
        `<text class="muted end" x="${left - 8}" y="${Number(y(level)) + 4}">${multiple(level)}</text>`,
    ),
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${y(1)}" y2="${y(1)}"/>`,
    `<line class="axis" x1="${x(BREAK_EVEN_ELASTICITY)}" x2="${x(BREAK_EVEN_ELASTICITY)}" y1="${top}" y2="${height - bottom}"/>`,
    `<polyline class="line" points="${points}"/>`,
    ...marked.map(
      ({ elasticity, spend }) => `<circle class="active" cx="${x(elasticity)}" cy="${y(spend)}" r="5"/>`,
    ),
    ...[0, BREAK_EVEN_ELASTICITY, max].map(
      (value) => `<text class="muted middle" x="${x(value)}" y="${height - bottom + 18}">${value}</text>`,
    ),
    `<text class="muted middle" x="${(left + width - right) / 2}" y="${height - 10}">elasticity of demand; 1 is the break-even</text>`,
  ])
}
