import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { writeAtomically } from '../src/checkpoint/save.ts'
import { readReport } from './read-report.ts'
import { subjectOf, tokenSweep } from './select.ts'
import { packageRoot } from './store.ts'
import type { BenchReport, Row } from './types.ts'

/*
 * Draws the README's picture from a stored report: `tsx bench/picture.ts [report.json] [picture.svg]`.
 * The background is transparent and every colour is of middle lightness, so that it reads on a light and a dark page.
 */

const COLORS = { sparse: '#2f8cc9', gather: '#d97a1f', line: '#7d8590' }
const FONT = { fontFamily: 'system-ui, sans-serif', fontSize: '13px' }

/** Speed-up over dense against T, bars by dispatch, with dense (1) and the ideal (E / K) as lines. */
export function speedupPicture(report: BenchReport): string {
  const { layer, conditions, date } = report
  const bars = barsOf(report)
  const ideal = layer.E / layer.K
  const device = conditions.runtime.deviceName ?? conditions.runtime.device
  const { document } = parseHTML('<html></html>')
  const svg = Plot.plot({
    document,
    width: 720,
    height: 360,
    marginTop: 62,
    marginBottom: 44,
    marginLeft: 48,
    marginRight: 92,
    style: { ...FONT, color: COLORS.line, background: 'none' },
    fx: {
      label: null,
      padding: 0.12,
      domain: [...new Set(bars.map(({ tokens }) => tokens))],
      tickFormat: (T: number) => `T = ${T}`,
    },
    x: { axis: null, domain: ['sparse', 'gather'] },
    y: {
      label: null,
      domain: [0, Math.ceil(1.08 * ideal)],
      ticks: 5,
      tickFormat: (value: number) => `${value}x`,
    },
    marks: [
      Plot.axisFx({ anchor: 'bottom', tickFormat: (T: number) => `T = ${T}`, label: null }),
      Plot.ruleY([1, ideal], { stroke: COLORS.line, strokeDasharray: '5 4' }),
      Plot.barY(bars, {
        fx: 'tokens',
        x: 'dispatch',
        y: 'speedup',
        fill: ({ dispatch }: Row) => COLORS[dispatch as 'sparse'],
        inset: 1,
      }),
      Plot.text(bars, {
        fx: 'tokens',
        x: 'dispatch',
        y: 'speedup',
        text: ({ speedup }) => speedup.toFixed(1),
        dy: -8,
        fill: 'currentColor',
      }),
      ...caption(
        `How much faster than running every expert: one layer, E = ${layer.E}, K = ${layer.K}`,
        `D = ${layer.D}, H = ${layer.H}, ${conditions.executor}, float32 on ${device}, ${conditions.runtime.threads} threads, ${date.slice(0, 10)}`,
      ),
      ...lineNames(ideal),
      ...legend(bars),
    ],
  })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return `${svg.outerHTML}\n`
}

type Bar = Row & { speedup: number }

/** The sweep over T by the executor that models run by. */
function barsOf(report: BenchReport): Bar[] {
  const subject = subjectOf(report)
  const rows = (['sparse', 'gather'] as const).flatMap((name) => tokenSweep(report.rows, subject, name))
  return rows.filter((row): row is Bar => row.speedup !== null).sort((a, b) => a.tokens - b.tokens)
}

function caption(title: string, conditions: string): Plot.Markish[] {
  const at = { frameAnchor: 'top-left' as const, textAnchor: 'start' as const, fill: 'currentColor', dx: -40 }
  return [
    Plot.text([title], { ...at, facet: 'super' as const, dy: -52, fontSize: 15, fontWeight: 'bold' }),
    Plot.text([conditions], { ...at, facet: 'super' as const, dy: -32 }),
  ]
}

/** Names of the two lines, right of the frame. */
function lineNames(ideal: number): Plot.Markish[] {
  const at = {
    facetAnchor: 'right' as const,
    frameAnchor: 'right' as const,
    textAnchor: 'start' as const,
    dx: 8,
    fill: 'currentColor',
  }
  return [
    Plot.text([ideal], { ...at, y: (value: number) => value, text: (value: number) => `ideal ${value}x` }),
    Plot.text([1], { ...at, y: (value: number) => value, text: () => 'dense 1x' }),
  ]
}

function legend(bars: Row[]): Plot.Markish[] {
  const names = (['sparse', 'gather'] as const).filter((name) =>
    bars.some(({ dispatch }) => dispatch === name),
  )
  return names.map((name, i) =>
    Plot.text([`■ ${name}`], {
      facet: 'super' as const,
      frameAnchor: 'bottom-right',
      textAnchor: 'start',
      dx: 8,
      dy: -110 - 22 * i,
      fill: COLORS[name],
    }),
  )
}

function main([reportFile, pictureFile]: string[]): void {
  const report = readReport(reportFile ?? join(packageRoot(), 'bench/results/cpu.json'))
  writeAtomically(pictureFile ?? join(packageRoot(), 'docs/bench.svg'), speedupPicture(report))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2))
