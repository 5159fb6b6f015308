import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { escapeXml } from './xml.ts'

/** An <svg> element of Plot's. */
export type Svg = ReturnType<typeof Plot.plot>

/** A plot as an <svg> element, drawn without a browser. Loading this takes a good second: import it when there is a picture to draw. */
export function plotElement(options: Plot.PlotOptions): Svg {
  const { document } = parseHTML('<html></html>')
  return Plot.plot({ document, ...options })
}

/** An <svg> element as a file's text. */
export function svgFile(svg: Svg): string {
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return `${svg.outerHTML}\n`
}

export interface Composition {
  width: number
  height: number
  title: string
  /** SVG that lies below the plots: backgrounds, headings. */
  below?: string
  /** Each with its upper left corner. */
  plots: { x: number; y: number; svg: Svg }[]
  /** Attributes of the whole, such as its font. */
  attributes?: Record<string, string>
}

/** Several plots as one file. */
export function composedFile({
  width,
  height,
  title,
  below = '',
  plots,
  attributes = {},
}: Composition): string {
  const own = Object.entries(attributes).map(([name, value]) => ` ${name}="${escapeXml(value)}"`)
  const placed = plots.map(({ x, y, svg }) => `<g transform="translate(${x},${y})">${svg.outerHTML}</g>`)
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"${own.join('')}>
<title>${escapeXml(title)}</title>
${below}
${placed.join('\n')}
</svg>
`
}
