import * as Plot from '@observablehq/plot'
import { type Bar, multiple } from './picture.ts'
import { BREAK_EVEN_ELASTICITY, type Rebound } from './rebound.ts'

/*
 * The cost model's plots, for files and for pages. Colours are what surrounds them: --ink, --muted, --rest, --active, --paper.
 */

/** A bar a model: its total, and in it what one token uses. */
export function barPlot(bars: Bar[]): Plot.PlotOptions & { height: number } {
  const rows = bars.map((bar, y) => ({ ...bar, y }))
  const facts = ({ total, active, totalText, activeText }: Bar) =>
    `${activeText} active of ${totalText}, ${(100 * (active / total)).toFixed(1)}%`
  return {
    height: 22 + 50 * bars.length,
    margin: 16,
    marginTop: 36,
    x: { axis: null, domain: [0, Math.max(...bars.map(({ total }) => total))] },
    y: { axis: null, paddingInner: 0.62, paddingOuter: 0 },
    marks: [
      Plot.barX(rows, { y: 'y', x: 'total', fill: 'var(--rest)', rx: 3 }),
      Plot.barX(rows, { y: 'y', x: 'active', fill: 'var(--active)', rx: 3, insetRight: -1 }), // a sliver still shows
      Plot.text(rows, { y: 'y', dy: -18, text: 'name', frameAnchor: 'left', fill: 'var(--ink)' }),
      Plot.text(rows, { y: 'y', dy: -18, text: facts, frameAnchor: 'right', fill: 'var(--muted)' }),
    ],
  }
}

/** Spend on a logarithmic scale over elasticity, with the elasticities that are marked. */
export function curvePlot(
  curve: Rebound[],
  marked: Rebound[],
  costFactor: number,
): Plot.PlotOptions & { height: number } {
  const limit = Math.max(...curve.map(({ spend }) => Math.abs(Math.log(spend)))) || 1
  const max = curve[curve.length - 1].elasticity
  const muted = { color: 'var(--muted)' }
  const dashes = { stroke: 'var(--muted)', strokeDasharray: '3 3' }
  const factor = Number(costFactor.toPrecision(3))
  return {
    height: 340,
    marginTop: 44,
    marginLeft: 70,
    marginBottom: 46,
    x: { domain: [0, max] },
    y: { type: 'log', domain: [Math.exp(-limit), Math.exp(limit)] },
    marks: [
      Plot.axisX({
        ...muted,
        label: 'elasticity of demand; 1 is the break-even',
        labelAnchor: 'center',
        labelArrow: 'none',
        ticks: [0, BREAK_EVEN_ELASTICITY, max],
        tickSize: 0,
      }),
      Plot.axisY({
        ...muted,
        ticks: [-1, -0.5, 0, 0.5, 1].map((share) => Math.exp(share * limit)),
        text: multiple,
        tickSize: 0,
        label: null,
      }),
      Plot.ruleY([1], dashes),
      Plot.ruleX([BREAK_EVEN_ELASTICITY], dashes),
      Plot.line(curve, { x: 'elasticity', y: 'spend', stroke: 'var(--active)', strokeWidth: 2 }),
      Plot.dot(marked, { x: 'elasticity', y: 'spend', fill: 'var(--active)', r: 5 }),
      Plot.text([`Total spend when cost per token falls to 1/${factor} (logarithmic)`], {
        frameAnchor: 'top-left',
        dy: -30,
        fill: 'var(--ink)',
      }),
    ],
  }
}
