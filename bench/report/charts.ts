import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'

/** Panels are drawn at this width and scaled by the page: readable on a telephone, and three side by side on a desk. */
export const PANEL_WIDTH = 380

export interface Label {
  /** Unique on the page. */
  id: string
  title: string
  description: string
}

/** A plot as text, with a title and a description for those who do not see it. Colours come from the page. */
export function draw(options: Plot.PlotOptions, { id, title, description }: Label): string {
  const { document } = parseHTML('<html></html>')
  const svg = Plot.plot({
    document,
    className: 'plot',
    width: PANEL_WIDTH,
    height: 300,
    marginLeft: 52,
    marginRight: 20,
    marginTop: 24,
    marginBottom: 40,
    ...options,
    style: { fontSize: '12px', fontFamily: 'inherit', background: 'none', overflow: 'visible' },
  })
  const element = (name: string, text: string) => {
    const made = document.createElement(name)
    made.setAttribute('id', `${id}-${name}`)
    made.textContent = text
    return made
  }
  svg.prepend(element('title', title), element('desc', description))
  svg.setAttribute('role', 'img')
  svg.setAttribute('aria-labelledby', `${id}-title ${id}-desc`)
  svg.setAttribute('viewBox', `0 0 ${svg.getAttribute('width')} ${svg.getAttribute('height')}`)
  for (const name of ['width', 'height', 'xmlns', 'xmlns:xlink']) svg.removeAttribute(name)
  return svg.outerHTML
}

/** A number for an axis or a label: three digits, no exponent. */
export function short(value: number): string {
  if (value >= 1e12) return `${digits(value / 1e12)}T`
  if (value >= 1e9) return `${digits(value / 1e9)}B`
  if (value >= 1e6) return `${digits(value / 1e6)}M`
  return value >= 1e4 ? `${digits(value / 1e3)}k` : digits(value)
}

function digits(value: number): string {
  return String(Number(value.toPrecision(3)))
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

/** A logarithmic axis of the numbers of tokens that were measured. */
export function tokenScale(tokens: readonly number[]): Plot.ScaleOptions {
  const domain = [tokens[0] / 1.4, tokens[tokens.length - 1] * 1.4]
  return { type: 'log', domain, ticks: [...tokens], tickFormat: String, ...centred('tokens T') }
}

/** Text that stays readable over lines and marks. */
export const HALO = { stroke: 'var(--paper)', strokeWidth: 4, fill: 'currentColor' } as const

/** An axis's name in its middle. */
export function centred(label: string): Plot.ScaleOptions {
  return { label, labelAnchor: 'center', labelArrow: 'none' }
}
