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
