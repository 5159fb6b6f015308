import * as Plot from '@observablehq/plot'
import { range } from 'd3-array'
import { plotElement } from '../../src/text/plot.ts'
import type { Dispatch } from '../schema.ts'
import { short } from './format.ts'
import { colourOf, LOOKS, type Look } from './palette.ts'
import type { Panel } from './section.ts'
import { dispatchesIn } from './select.ts'

export interface PanelWords extends Omit<Panel, 'svg'> {
  /** Unique on the page. */
  id: string
}

/** A plot with its words, scaled by the page: readable on a telephone, and three side by side on a desk. Colours come from the page. */
export function panel({ id, ...words }: PanelWords, options: Plot.PlotOptions): Panel {
  const svg = plotElement({
    className: 'plot',
    width: 380,
    height: 300,
    marginLeft: 52,
    marginTop: 24,
    marginBottom: 40,
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

/** An axis's name in its middle. */
export function centred(label: string): Plot.ScaleOptions & Plot.AxisOptions {
  return { label, labelAnchor: 'center', labelArrow: 'none' }
}

/** An upright axis with its grid. */
export function upright(label: string, scale: Plot.ScaleOptions): Plot.ScaleOptions {
  return { label, labelArrow: 'none', grid: true, ...scale }
}

/**
 * A logarithmic axis around values. The wider it is, the fewer of 1, 2, 3 and 5 of each power of ten are marked: d3 leaves a
 * mark without its label where it thinks there are too many.
 */
export function logScale(values: readonly number[], room = 1.5): Plot.ScaleOptions {
  const [least, most] = [Math.min(...values) / room, Math.max(...values) * room]
  const width = Math.log10(most / least)
  const steps = width < 1.5 ? [1, 2, 5] : width < 3 ? [1, 3] : [1]
  const every = width > 7 ? 3 : 1
  const powers = range(every * Math.floor(Math.log10(least) / every), Math.log10(most), every)
  const marks = powers.flatMap((power) => steps.map((step) => step * 10 ** power))
  const ticks = marks.filter((tick) => tick >= least && tick <= most)
  return { type: 'log', domain: [least, most], ticks, tickFormat: short }
}

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

/** A row at its place along what was changed: a value, and the interval that it lies in where there is one. */
export interface Along {
  dispatch: Dispatch
  place: string
  value: number
  low: number | null
  high: number | null
  title: string
}

/** Values along places, measured or not, by dispatch with their intervals. `under` lies below them. */
export function alongPanel(
  words: PanelWords,
  { rows, places, label }: { rows: readonly Along[]; places: readonly string[]; label: string },
  y: Plot.ScaleOptions,
  under: Plot.Markish[] = [],
): Panel {
  const at = { x: 'place', y: 'value' }
  const marks = byDispatch(rows, (own, { colour, symbol, dashes }) => [
    Plot.lineY(own, { ...at, stroke: colour, strokeOpacity: 0.5, strokeDasharray: dashes }),
    Plot.ruleX(
      own.filter(({ low, high }) => low !== null && high !== null),
      { x: 'place', y1: 'low', y2: 'high', stroke: colour, strokeWidth: 2 },
    ),
    Plot.dot(own, { ...at, fill: colour, symbol, r: 4, title: 'title' }),
  ])
  const x = { type: 'band', domain: places, ...centred(label), padding: 0.5 } as const
  return panel(words, { x, y, marks: [...under, ...marks] })
}

/** A bar of a group: beside the others, or behind them where bars are stacked. */
export interface Bar {
  group: string
  name: string
  colour: string
  value: number
  title: string
}

/** Bars from the left, with the value of each at its end, or of stacked ones the sum. */
export function barsPanel(words: PanelWords, bars: Bar[], unit: string, stacked = false): Panel[] {
  if (bars.length === 0) return []
  const groups = [...new Set(bars.map(({ group }) => group))]
  const names = [...new Set(bars.map(({ name }) => name))]
  const y = stacked ? () => '' : 'name'
  const ends = stacked
    ? groups.map((group) => {
        const values = bars.filter((bar) => bar.group === group).map(({ value }) => value)
        const sum = (some: number[]) => some.reduce((a, b) => a + b, 0)
        return { group, name: '', value: sum(values.filter((value) => value > 0)), sum: sum(values) }
      })
    : bars.map((bar) => ({ ...bar, sum: bar.value }))
  return [
    panel(words, {
      height: 64 + Math.max(60, stacked ? 56 * groups.length : bars.length * 17 + groups.length * 10),
      marginLeft: 62,
      marginRight: 56,
      x: { ...centred(unit), ticks: 5, tickFormat: short, grid: true },
      y: { axis: null, ...(stacked ? {} : { domain: names }), padding: 0.12 },
      fy: { label: null, domain: groups, padding: 0.14 },
      marks: [
        Plot.barX(bars, {
          fy: 'group',
          y,
          x: 'value',
          z: 'name',
          order: names,
          fill: 'colour',
          title: 'title',
        }),
        Plot.text(ends, {
          fy: 'group', y, x: 'value', text: ({ sum }) => short(sum), dx: 5, textAnchor: 'start',
        }), // biome-ignore format: one mark
        Plot.axisFy({ anchor: 'left', label: null }),
        Plot.ruleX([0]),
      ],
    }),
  ]
}
