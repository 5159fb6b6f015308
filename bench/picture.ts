import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as Plot from '@observablehq/plot'
import { Command } from 'commander'
import { writeAtomically } from '../src/files.ts'
import { packageRoot } from '../src/package.ts'
import { checkOutputs } from '../src/script/outputs.ts'
import { runScript } from '../src/script/run.ts'
import { plotElement, svgFile } from '../src/text/plot.ts'
import { readReport } from './read-report.ts'
import { hasInterval } from './report/charts.ts'
import { distinct, EXECUTOR_WORDS, plannedSweep } from './report/select.ts'
import type { BenchReport, Row } from './schema.ts'

/*
 * Draws the README's picture from a stored report: `tsx bench/picture.ts [report.json] [picture.svg]`.
 * The background is transparent and every colour is of middle lightness, so that it reads on a light and a dark page.
 */

const COLORS = { sparse: '#1f77b4', gather: '#c25e00', line: '#7d8590' }
const DISPATCHES = ['sparse', 'gather'] as const
const FONT = { fontFamily: 'system-ui, sans-serif', fontSize: '13px' }
const SIZE = { width: 720, height: 370, marginTop: 82, marginBottom: 40, marginLeft: 48, marginRight: 92 }
/** Of the distance from one number of tokens to the next. */
const BAR_WIDTH = 0.36
/** Pixels of a bar that its number fits into. */
const NUMBER_HEIGHT = 22
/** Texts right of the frame. */
const RIGHT = { frameAnchor: 'right', textAnchor: 'start', dx: 8 } as const

/** A bar at its place among `tokens`; those of one number of tokens stand around it. */
interface Bar extends Row {
  dispatch: (typeof DISPATCHES)[number]
  speedup: number
  x1: number
  x2: number
}

/** Speed-up over dense against T, bars by dispatch with 95 % intervals, with dense (1) and the ideal (E / K) as lines. */
export function speedupPicture(report: BenchReport): string {
  const { E, K } = report.layer
  const rows = DISPATCHES.flatMap((name) => plannedSweep(report).filter(({ dispatch }) => dispatch === name))
  const tokens = distinct(rows.map((row) => row.tokens))
  const bars = tokens.flatMap((T, place) =>
    barsAt(
      place,
      rows.filter((row) => row.tokens === T),
    ),
  )
  const empty = [...tokens.keys()].filter((place) => !bars.some((bar) => bar.tokens === tokens[place]))
  const ideal = E / K
  const top = 1.1 * Math.max(ideal, ...bars.map(({ speedup, speedupHigh }) => speedupHigh ?? speedup))
  return svgFile(
    plotElement({
      ...SIZE,
      style: { ...FONT, color: COLORS.line, background: 'none' },
      x: {
        label: null,
        domain: [-0.5, tokens.length - 0.5],
        ticks: [...tokens.keys()],
        tickSize: 0,
        tickFormat: (place: number) => `T = ${tokens[place]}`,
      },
      y: { label: null, domain: [0, top], ticks: 5, tickFormat: (value: number) => `${value}x` },
      marks: [
        Plot.rectY(bars, { x1: 'x1', x2: 'x2', y: 'speedup', fill: colourOf, inset: 1 }),
        Plot.ruleY([1, ideal], { stroke: COLORS.line, strokeDasharray: '5 4' }),
        Plot.ruleX(bars.filter(hasInterval), {
          x: middle,
          y1: 'speedupLow',
          y2: 'speedupHigh',
          stroke: COLORS.line,
          strokeWidth: 2,
        }),
        ...numbers(bars, top),
        Plot.text(empty, {
          x: (place) => place,
          y: 0,
          dy: -12,
          text: () => 'not measured',
          fill: 'currentColor',
        }),
        ...namesOfLines(ideal),
        // Where no line has its name.
        ...legend(bars, ideal > top / 2 ? (1 + ideal) / 2 : (ideal + top) / 2),
        ...caption(report),
      ],
    }),
  )
}

function barsAt(place: number, rows: Row[]): Bar[] {
  const timed = rows.filter(({ speedup }) => speedup !== null)
  return timed.map((row, i) => {
    const x1 = place + (i - timed.length / 2) * BAR_WIDTH
    return { ...row, x1, x2: x1 + BAR_WIDTH } as Bar
  })
}

function middle({ x1, x2 }: Bar): number {
  return (x1 + x2) / 2
}

function colourOf({ dispatch }: Bar): string {
  return COLORS[dispatch]
}

/** At the foot of the bar, where no line crosses it; above one that is too short. */
function numbers(bars: Bar[], top: number): Plot.Markish[] {
  const pixels = (SIZE.height - SIZE.marginTop - SIZE.marginBottom) / top
  const isTall = ({ speedup }: Bar) => speedup * pixels >= NUMBER_HEIGHT
  const end = ({ speedup, speedupHigh }: Bar) => speedupHigh ?? speedup
  const at = { x: middle, text: ({ speedup }: Bar) => speedup.toFixed(1) }
  return [
    Plot.text(bars.filter(isTall), { ...at, y: 0, dy: -12, fill: 'white', fontWeight: 'bold' }),
    Plot.text(
      bars.filter((bar) => !isTall(bar)),
      { ...at, y: end, dy: -9, fill: 'currentColor' },
    ),
  ]
}

function caption({ layer, conditions, date }: BenchReport): Plot.Markish[] {
  const { runtime, executor } = conditions
  const { D, H, E, K } = layer
  const at = { frameAnchor: 'top-left', textAnchor: 'start', fill: 'currentColor', dx: -40 } as const
  const title = `Times as fast as running every expert: one layer, E = ${E}, K = ${K}, on T tokens`
  const what = `D = ${D}, H = ${H}, float32, ${EXECUTOR_WORDS[executor]}; lines at the bars: 95 % intervals`
  const where = `${runtime.deviceName ?? runtime.device}, ${runtime.threads} threads, ${date.slice(0, 10)}`
  return [
    Plot.text([title], { ...at, dy: -70, fontSize: 15, fontWeight: 'bold' }),
    Plot.text([what], { ...at, dy: -50 }),
    Plot.text([where], { ...at, dy: -32 }),
  ]
}

function namesOfLines(ideal: number): Plot.Markish[] {
  const text = (value: number) => (value === 1 ? 'dense 1x' : `ideal ${Number(value.toFixed(2))}x`)
  return [Plot.text([1, ideal], { ...RIGHT, fill: 'currentColor', y: (value: number) => value, text })]
}

function legend(bars: Bar[], y: number): Plot.Markish[] {
  const names = DISPATCHES.filter((name) => bars.some(({ dispatch }) => dispatch === name))
  return names.map((name, i) =>
    Plot.text([`■ ${name}`], { ...RIGHT, y: () => y, dy: -11 + 22 * i, fill: COLORS[name] }),
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
