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
import { allowedAmong, EXECUTOR_WORDS, isCompared, plannedSweep } from './report/select.ts'
import type { BenchReport } from './schema.ts'

/*
 * Draws the README's picture from a stored report: `tsx bench/picture.ts [report.json] [picture.svg]`.
 * The background is transparent and every colour is of middle lightness, so that it reads on a light and a dark page.
 */

const COLORS = { sparse: '#1f77b4', gather: '#c25e00', line: '#7d8590', allowed: '#2f9e6e' }
const SIZE = { width: 720, height: 370, marginTop: 82, marginBottom: 40, marginLeft: 48, marginRight: 92 }
/** Pixels of a bar that its number fits into. */
const NUMBER_HEIGHT = 22

/** Speed-up over dense at each T, bars by dispatch with 95 % intervals, with dense (1) and the ideal (E / K) as lines. */
export function speedupPicture(report: BenchReport): string {
  const sweep = plannedSweep(report).filter(({ dispatch }) => dispatch === 'sparse' || dispatch === 'gather')
  const tokens = [...new Set(sweep.map((row) => row.tokens))].sort((a, b) => a - b)
  const bars = sweep.filter(isCompared).map((row) => ({ ...row, end: row.speedupHigh ?? row.speedup }))
  const allowed = sweep.flatMap((row) => {
    const most = row.dispatch === 'sparse' ? allowedAmong(report.rows, row, report.conditions.machine) : null
    return most === null ? [] : [{ tokens: row.tokens, most }]
  })
  const empty = tokens.filter((T) => !bars.some((bar) => bar.tokens === T))
  const ideal = report.layer.E / report.layer.K
  const top = 1.1 * Math.max(ideal, ...allowed.map(({ most }) => most), ...bars.map(({ end }) => end))
  const pixels = (SIZE.height - SIZE.marginTop - SIZE.marginBottom) / top
  const isTall = ({ speedup }: (typeof bars)[number]) => speedup * pixels >= NUMBER_HEIGHT
  const fx = 'tokens'
  const at = { fx, x: 'dispatch' } as const
  const number = { ...at, text: ({ speedup }: (typeof bars)[number]) => speedup.toFixed(1) }
  const line = { stroke: COLORS.line, strokeDasharray: '5 4' }
  return svgFile(
    plotElement({
      ...SIZE,
      style: {
        fontFamily: 'system-ui, sans-serif',
        fontSize: '13px',
        color: COLORS.line,
        background: 'none',
      },
      fx: {
        label: null,
        domain: tokens,
        axis: 'bottom',
        tickFormat: (T: number) => `T = ${T}`,
        padding: 0.12,
      },
      x: { axis: null, domain: ['sparse', 'gather'], padding: 0.06 },
      y: { label: null, domain: [0, top], ticks: 5, tickFormat: (value: number) => `${value}x` },
      marks: [
        Plot.barY(bars, { ...at, y: 'speedup', fill: ({ dispatch }) => COLORS[dispatch as 'sparse'] }),
        Plot.ruleY([1, ideal], line),
        Plot.tickY(allowed, { fx, y: 'most', stroke: COLORS.allowed, strokeWidth: 3 }),
        Plot.ruleX(
          bars.filter(({ speedupLow }) => speedupLow !== null),
          { ...at, y1: 'speedupLow', y2: 'speedupHigh', stroke: COLORS.line, strokeWidth: 2 },
        ),
        // At the foot of the bar, where no line crosses it; above one that is too short.
        Plot.text(bars.filter(isTall), { ...number, y: 0, dy: -12, fill: 'white', fontWeight: 'bold' }),
        Plot.text(
          bars.filter((bar) => !isTall(bar)),
          { ...number, y: 'end', dy: -9, fill: 'currentColor' },
        ),
        Plot.text(empty, {
          fx: (T: number) => T,
          y: 0,
          dy: -12,
          text: () => 'not measured',
          fill: 'currentColor',
        }),
        ...words(report, tokens, ideal, top),
      ],
    }),
  )
}

/** What stands around the bars: above them, and right of the last. */
function words(
  { layer, conditions, date }: BenchReport,
  tokens: number[],
  ideal: number,
  top: number,
): Plot.Markish[] {
  const { runtime, executor, dtype } = conditions
  const { D, H, E, K } = layer
  const above = {
    fx: () => tokens[0],
    frameAnchor: 'top-left',
    textAnchor: 'start',
    fill: 'currentColor',
    dx: -40,
  } as const
  const right = {
    fx: () => tokens.at(-1),
    frameAnchor: 'right',
    textAnchor: 'start',
    dx: 14,
    fill: 'currentColor',
  } as const
  const title = `Times as fast as running every expert: one layer, E = ${E}, K = ${K}, on T tokens`
  const what = `D = ${D}, H = ${H}, ${dtype}, ${EXECUTOR_WORDS[executor]}; lines at the bars: 95 % intervals`
  const where = `${runtime.deviceName ?? runtime.device}, ${runtime.threads} threads, ${date.slice(0, 10)}; green: all that its arithmetic and memory allow`
  // Where no line has its name.
  const free = ideal > top / 2 ? (1 + ideal) / 2 : (ideal + top) / 2
  return [
    Plot.text([title], { ...above, dy: -70, fontSize: 15, fontWeight: 'bold' }),
    Plot.text([what], { ...above, dy: -50 }),
    Plot.text([where], { ...above, dy: -32 }),
    Plot.text([1], { ...right, y: () => 1, text: () => 'dense 1x' }),
    Plot.text([ideal], { ...right, y: () => ideal, text: () => `ideal ${Number(ideal.toFixed(2))}x` }),
    ...(['sparse', 'gather', 'allowed'] as const).map((name, i) =>
      Plot.text([name === 'allowed' ? '━ allowed' : `■ ${name}`], {
        ...right,
        y: () => free,
        dy: -22 + 22 * i,
        fill: COLORS[name],
      }),
    ),
  ]
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
