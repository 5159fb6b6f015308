import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as Plot from '@observablehq/plot'
import { Command } from 'commander'
import { parseHTML } from 'linkedom'
import { writeAtomically } from '../src/checkpoint/save.ts'
import { checkOutputs } from '../src/cli/outputs.ts'
import { runScript } from '../src/cli/run-script.ts'
import { packageRoot } from '../src/package.ts'
import { readReport } from './read-report.ts'
import { subjectOf, tokenSweep } from './select.ts'
import type { BenchReport, Row } from './types.ts'

/*
 * Draws the README's picture from a stored report: `tsx bench/picture.ts [report.json] [picture.svg]`.
 * The background is transparent and every colour is of middle lightness, so that it reads on a light and a dark page.
 */

const COLORS = { sparse: '#1f77b4', gather: '#c25e00', line: '#7d8590' }
const FONT = { fontFamily: 'system-ui, sans-serif', fontSize: '13px' }
const SIZE = { width: 720, height: 370, marginTop: 82, marginBottom: 40, marginLeft: 48, marginRight: 92 }
/** Of the distance from one number of tokens to the next. */
const BAR_WIDTH = 0.36
/** Pixels of a bar that its number fits into. */
const NUMBER_HEIGHT = 22

/** A bar at its place among `tokens`; those of one number of tokens stand around it. */
interface Bar extends Row {
  speedup: number
  x1: number
  x2: number
}

/** Speed-up over dense against T, bars by dispatch with 95 % intervals, with dense (1) and the ideal (E / K) as lines. */
export function speedupPicture(report: BenchReport): string {
  const { layer } = report
  const rows = DISPATCHES.flatMap((name) => tokenSweep(report.rows, subjectOf(report), name))
  const tokens = [...new Set(rows.map((row) => row.tokens))].sort((a, b) => a - b)
  const bars = tokens.flatMap((T, place) =>
    barsAt(
      place,
      rows.filter((row) => row.tokens === T),
    ),
  )
  const ideal = layer.E / layer.K
  const top = 1.1 * Math.max(ideal, ...bars.map(({ speedup, speedupHigh }) => speedupHigh ?? speedup))
  const { document } = parseHTML('<html></html>')
  const svg = Plot.plot({
    document,
    ...SIZE,
    style: { ...FONT, color: COLORS.line, background: 'none' },
    x: {
      label: null,
      domain: [-0.5, tokens.length - 0.5],
      ticks: tokens.map((_, place) => place),
      tickSize: 0,
      tickFormat: (place: number) => `T = ${tokens[place]}`,
    },
    y: { label: null, domain: [0, top], ticks: 5, tickFormat: (value: number) => `${value}x` },
    marks: [
      Plot.rectY(bars, {
        x1: 'x1',
        x2: 'x2',
        y: 'speedup',
        fill: ({ dispatch }) => COLORS[dispatch as 'sparse'],
        inset: 1,
      }),
      Plot.ruleY([1, ideal], { stroke: COLORS.line, strokeDasharray: '5 4' }),
      ...intervals(bars),
      ...numbers(bars, top),
      ...unmeasured(tokens, bars),
      ...lineNames(ideal),
      ...legend(bars, ideal > top / 2 ? (1 + ideal) / 2 : (ideal + top) / 2),
      ...caption(report),
    ],
  })
  svg.setAttribute('xmlns', 'http://www.w3.org/2000/svg')
  return `${svg.outerHTML}\n`
}

const DISPATCHES = ['sparse', 'gather'] as const

function barsAt(place: number, rows: Row[]): Bar[] {
  const timed = rows.filter((row): row is Row & { speedup: number } => row.speedup !== null)
  return timed.map((row, i) => {
    const x1 = place + (i - timed.length / 2) * BAR_WIDTH
    return { ...row, x1, x2: x1 + BAR_WIDTH }
  })
}

function middle({ x1, x2 }: Bar): number {
  return (x1 + x2) / 2
}

function intervals(bars: Bar[]): Plot.Markish[] {
  const known = bars.filter(({ speedupLow, speedupHigh }) => speedupLow !== null && speedupHigh !== null)
  return [
    Plot.ruleX(known, {
      x: middle,
      y1: 'speedupLow',
      y2: 'speedupHigh',
      stroke: COLORS.line,
      strokeWidth: 2,
    }),
  ]
}

/** At the foot of the bar, where no line crosses it; above one that is too short. */
function numbers(bars: Bar[], top: number): Plot.Markish[] {
  const pixels = (SIZE.height - SIZE.marginTop - SIZE.marginBottom) / top
  const text = ({ speedup }: Bar) => speedup.toFixed(1)
  const [tall, short] = [true, false].map((fits) =>
    bars.filter(({ speedup }) => speedup * pixels >= NUMBER_HEIGHT === fits),
  )
  return [
    Plot.text(tall, { x: middle, y: 0, dy: -12, text, fill: 'white', fontWeight: 'bold' }),
    Plot.text(short, {
      x: middle,
      y: ({ speedup, speedupHigh }: Bar) => speedupHigh ?? speedup,
      dy: -9,
      text,
      fill: 'currentColor',
    }),
  ]
}

/** A number of tokens without a bar says why it is empty. */
function unmeasured(tokens: number[], bars: Bar[]): Plot.Markish[] {
  const places = [...tokens.keys()].filter((place) => !bars.some(({ tokens: T }) => T === tokens[place]))
  return [
    Plot.text(places, {
      x: (place: number) => place,
      y: 0,
      dy: -12,
      text: () => 'not measured',
      fill: 'currentColor',
    }),
  ]
}

function caption({ layer, conditions, date }: BenchReport): Plot.Markish[] {
  const { runtime, executor } = conditions
  const at = {
    frameAnchor: 'top-left' as const,
    textAnchor: 'start' as const,
    fill: 'currentColor',
    dx: -40,
  }
  const title = `Times as fast as running every expert: one layer, E = ${layer.E}, K = ${layer.K}, on T tokens`
  const words = executor === 'recorded' ? 'recorded as one graph' : 'op by op'
  const what = `D = ${layer.D}, H = ${layer.H}, float32, ${words}; lines at the bars: 95 % intervals`
  const where = `${runtime.deviceName ?? runtime.device}, ${runtime.threads} threads, ${date.slice(0, 10)}`
  return [
    Plot.text([title], { ...at, dy: -70, fontSize: 15, fontWeight: 'bold' }),
    Plot.text([what], { ...at, dy: -50 }),
    Plot.text([where], { ...at, dy: -32 }),
  ]
}

/** Names of the two lines, right of the frame. */
function lineNames(ideal: number): Plot.Markish[] {
  return [
    Plot.text([1, ideal], {
      frameAnchor: 'right',
      textAnchor: 'start',
      dx: 8,
      fill: 'currentColor',
      y: (value: number) => value,
      text: (value: number) => (value === 1 ? 'dense 1x' : `ideal ${Number(value.toFixed(2))}x`),
    }),
  ]
}

/** Names of the bars, right of the frame: around `y`, where no line has its name. */
function legend(bars: Row[], y: number): Plot.Markish[] {
  const names = DISPATCHES.filter((name) => bars.some(({ dispatch }) => dispatch === name))
  return names.map((name, i) =>
    Plot.text([`■ ${name}`], {
      frameAnchor: 'right',
      textAnchor: 'start',
      y: () => y,
      dx: 8,
      dy: -11 + 22 * i,
      fill: COLORS[name],
    }),
  )
}

const program = new Command('tsx bench/picture.ts')
  .description("Draws a report's speed-ups as the picture of the README.")
  .argument('[report]', 'of tinymoe bench, as JSON', join(packageRoot(), 'bench/results/cpu.json'))
  .argument('[picture]', 'where it goes, as SVG', join(packageRoot(), 'docs/bench.svg'))
  .action((report: string, picture: string) => {
    checkOutputs({ flag: '[picture]', path: picture })
    writeAtomically(picture, speedupPicture(readReport(report)))
  })

if (process.argv[1] === fileURLToPath(import.meta.url)) await runScript(program)
