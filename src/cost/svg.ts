import type { PlotOptions } from '@observablehq/plot'
import { composedFile, plotElement } from '../text/plot.ts'
import type { Bar } from './picture.ts'
import { barPlot, curvePlot } from './plots.ts'
import type { Rebound } from './rebound.ts'

/** Light and dark by the reader's setting. */
const STYLE = `<style>
.cost { --ink: #1f2328; --muted: #656d76; --rest: #d0d7de; --active: #f97316; --paper: #ffffff; color-scheme: light dark }
@media (prefers-color-scheme: dark) {
  .cost { --ink: #e6edf3; --muted: #9198a1; --rest: #3d444d; --paper: #0d1117 }
}
.cost .paper { fill: var(--paper) }
</style>
<rect class="paper" width="100%" height="100%" rx="6"/>`
const WIDTH = 640

/** One plot as a file that is light or dark as its reader is. */
function picture(title: string, options: PlotOptions & { height: number }): string {
  const { height } = options
  const style = {
    background: 'none',
    fontSize: '13px',
    fontFamily: 'system-ui, sans-serif',
    color: 'var(--ink)',
  }
  const svg = plotElement({ width: WIDTH, ...options, style })
  const attributes = { class: 'cost', role: 'img', 'aria-label': title }
  return composedFile({ width: WIDTH, height, title, attributes, below: STYLE, plots: [{ x: 0, y: 0, svg }] })
}

/** A bar a model: its total, and in it what one token uses. */
export function barPicture(bars: Bar[]): string {
  return picture('Total and active parameters', barPlot(bars))
}

/** The curve of text as a picture. */
export function curvePicture(curve: Rebound[], marked: Rebound[], costFactor: number): string {
  return picture('Total spend by elasticity of demand', curvePlot(curve, marked, costFactor))
}
