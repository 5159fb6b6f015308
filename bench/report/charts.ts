import * as Plot from '@observablehq/plot'
import { plotElement } from '../../src/text/plot.ts'
import type { Dispatch, Row } from '../schema.ts'
import { short } from './format.ts'
import { colourOf, LOOKS, type Look } from './palette.ts'
import type { Panel } from './section.ts'
import { type ComparedRow, dispatchesIn } from './select.ts'

/** Panels are drawn at this width and scaled by the page: readable on a telephone, and three side by side on a desk. */
const PANEL_WIDTH = 380
const MARGIN = { left: 52, right: 20, top: 24, bottom: 40 }

export interface PanelWords extends Omit<Panel, 'svg'> {
  /** Unique on the page. */
  id: string
}

/** A plot with its words. Colours come from the page. */
export function panel({ id, ...words }: PanelWords, options: Plot.PlotOptions): Panel {
  const svg = plotElement({
    className: 'plot',
    width: PANEL_WIDTH,
    height: 300,
    marginLeft: MARGIN.left,
    marginRight: MARGIN.right,
    marginTop: MARGIN.top,
    marginBottom: MARGIN.bottom,
    ...options,
    style: { fontSize: '12px', fontFamily: 'inherit', background: 'none', overflow: 'visible' },
  })
  // For those who do not see the picture.
  const axes = [options.y, options.x].flatMap((scale) => scale?.label ?? [])
  const said = { title: words.caption, desc: `${axes.join(' against ')}; the table below has the numbers.` }
  const elements = Object.entries(said).map(([name, text]) => {
    const element = svg.ownerDocument.createElement(name)
    element.setAttribute('id', `${id}-${name}`)
    element.textContent = text
    return element
  })
  svg.prepend(...elements)
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-labelledby', `${id}-title ${id}-desc`)
  svg.setAttribute('viewBox', `0 0 ${svg.getAttribute('width')} ${svg.getAttribute('height')}`)
  for (const name of ['width', 'height', 'xmlns', 'xmlns:xlink']) svg.removeAttribute(name)
  return { ...words, svg: svg.outerHTML }
}

/** Text that stays readable over lines and marks. */
export const HALO = { stroke: 'var(--paper)', strokeWidth: 4, fill: 'currentColor' } as const

/** An axis's name in its middle. */
export function centred(label: string): Plot.ScaleOptions & Plot.AxisOptions {
  return { label, labelAnchor: 'center', labelArrow: 'none' }
}

/** An upright axis with its grid. */
export function upright(label: string, scale: Plot.ScaleOptions = {}): Plot.ScaleOptions {
  return { label, labelArrow: 'none', grid: true, ...scale }
}

/**
 * A logarithmic axis from `least` to `most`. The wider it is, the fewer of 1, 2, 3 and 5 of each power of ten are marked: d3
 * leaves a mark without its label where it thinks there are too many.
 */
export function logScale(least: number, most: number): Plot.ScaleOptions {
  const [from, to] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))]
  const powers = Array.from({ length: to - from + 1 }, (_, i) => from + i)
  const kept = to - from > 7 ? powers.filter((power) => power % 3 === 0) : powers
  const width = Math.log10(most / least)
  const steps = width < 1.5 ? [1, 2, 5] : width < 3 ? [1, 3] : [1]
  const marks = kept.flatMap((power) => steps.map((step) => step * 10 ** power))
  const ticks = marks.filter((tick) => tick >= least && tick <= most)
  return { type: 'log', domain: [least, most], ticks, tickFormat: short }
}

const LABEL = { character: 7, height: 13 }

/** A logarithmic axis of the numbers of tokens that were measured, each with its label: on a line below where it would touch another. */
export function tokenAxis(tokens: readonly number[]) {
  const domain = [tokens[0] / 1.4, tokens[tokens.length - 1] * 1.4]
  const pixels = (PANEL_WIDTH - MARGIN.left - SPEEDUP_MARGIN) / Math.log(domain[1] / domain[0])
  const ends: number[] = [] // of the last label of each line
  const lineOf = new Map(
    tokens.map((T) => {
      const [at, half] = [Math.log(T / domain[0]) * pixels, (String(T).length * LABEL.character) / 2]
      const free = ends.findIndex((end) => end <= at - half)
      const line = free < 0 ? ends.length : free
      ends[line] = at + half
      return [T, line]
    }),
  )
  const text = (T: number) => '\n'.repeat(lineOf.get(T)!) + T
  return {
    scale: { type: 'log', domain, label: 'tokens T' } as const,
    // An axis of its own: of a scale's labels d3 would leave out those that it finds too many.
    axis: Plot.axisX({ ...centred('tokens T'), ticks: [...tokens], text }),
    marginBottom: MARGIN.bottom + (ends.length - 1) * LABEL.height,
  }
}

/** Room for the lines' names, right of a picture of speed-ups. */
export const SPEEDUP_MARGIN = 62

/** Marks of the rows of each dispatch, in its colour and shape. */
export function byDispatch<R extends { dispatch: Dispatch }>(
  rows: readonly R[],
  marks: (rows: R[], look: Look & { colour: string }) => Plot.Markish[],
): Plot.Markish[] {
  return dispatchesIn(rows).flatMap((dispatch) =>
    marks(
      rows.filter((row) => row.dispatch === dispatch),
      { ...LOOKS[dispatch], colour: colourOf(dispatch) },
    ),
  )
}

/** Speed-ups as points with their intervals. */
export function speedupMarks(
  rows: readonly ComparedRow[],
  x: string | ((row: ComparedRow) => string),
): Plot.Markish[] {
  return byDispatch(rows, (own, { colour, symbol }) => [
    Plot.ruleX(own.filter(hasInterval), {
      x,
      y1: 'speedupLow',
      y2: 'speedupHigh',
      stroke: colour,
      strokeWidth: 2,
    }),
    Plot.dot(own, { x, y: 'speedup', fill: colour, symbol, r: 4, title: speedupHint }),
  ])
}

export function hasInterval({ speedupLow, speedupHigh }: Row): boolean {
  return speedupLow !== null && speedupHigh !== null
}

function speedupHint({ id, speedup, speedupLow, speedupHigh, idealSpeedup }: ComparedRow): string {
  const interval =
    speedupLow === null || speedupHigh === null
      ? ''
      : ` (${speedupLow.toFixed(2)} to ${speedupHigh.toFixed(2)})`
  return `${id}: ${speedup.toFixed(2)} times as fast as dense${interval}, ideal ${short(idealSpeedup)}`
}

/** The highest that a picture of these speed-ups has to show. */
export function highest(rows: readonly ComparedRow[], ...lines: number[]): number {
  return Math.max(
    1,
    ...lines,
    ...rows.flatMap(({ speedup, speedupHigh, idealSpeedup }) => [speedupHigh ?? speedup, idealSpeedup]),
  )
}
