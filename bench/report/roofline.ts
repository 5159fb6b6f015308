import * as Plot from '@observablehq/plot'
import type { MachineReadings } from '../../src/device/index.ts'
import type { BenchReport, Row } from '../schema.ts'
import { centred, draw, HALO, logScale, short } from './charts.ts'
import { listed } from './markup.ts'
import { dispatchesIn, EXECUTOR_WORDS, executorsOf } from './page-select.ts'
import { colourOf, LOOKS } from './palette.ts'
import type { PageSection, Panel } from './section.ts'
import type { Cells } from './tables.ts'

/** A row as a point under the roofs. */
export interface RooflinePoint {
  row: Row
  /** FLOP by weight byte that the call has to read. */
  intensity: number
  gflops: number
  /** What the machine allows at this intensity. */
  roof: number
}

/** GFLOP/s that can be reached at an intensity: Williams, Waterman and Patterson (2009). GB/s times FLOP/byte is GFLOP/s. */
export function roofAt(intensity: number, { matmulGflops, memoryGbPerS }: MachineReadings): number {
  return Math.min(matmulGflops, memoryGbPerS * intensity)
}

export function rooflinePoints({ rows, conditions }: BenchReport): RooflinePoint[] {
  return rows.flatMap((row) => {
    if (row.gflopsPerSecond === null || row.weightBytes === 0) return []
    const intensity = (row.flopsCounted ?? row.flops) / row.weightBytes
    return [{ row, intensity, gflops: row.gflopsPerSecond, roof: roofAt(intensity, conditions.machine) }]
  })
}

/** Every case under the machine's two roofs. */
export function rooflineSection(report: BenchReport): PageSection {
  const points = rooflinePoints(report)
  const { machine } = report.conditions
  return {
    id: 'roofline',
    title: 'Roofline: what bounds each case',
    sentence: sentenceOf(points, machine),
    note: `Every timed case is a point: how many FLOPs it does for a byte of weights it has to read, and how many it does in a second. The lines are readings of the same session, ${machine.matmulGflops.toFixed(1)} GFLOP/s in a matrix product and ${machine.memoryGbPerS.toFixed(1)} GB/s from memory. Under the slope memory is the bound, under the flat part arithmetic. A point above the slope had its weights in a cache. Activations and the KV cache are not counted as bytes.`,
    dispatches: dispatchesIn(points.map(({ row }) => row)),
    panels: panelsOf(report, points),
    table: tableOf(points),
  }
}

function panelsOf(report: BenchReport, points: RooflinePoint[]): Panel[] {
  return (['layer', 'model'] as const).flatMap((kind) =>
    executorsOf(report, kind).flatMap((executor) => {
      const own = points.filter(
        ({ row }) => row.executor === executor && (row.kind === 'layer') === (kind === 'layer'),
      )
      if (own.length === 0) return []
      return [
        rooflinePanel(report, own, points, `${kind}-${executor}`, `${kind}, ${EXECUTOR_WORDS[executor]}`),
      ]
    }),
  )
}

/** All panels have the scales of `all`. */
function rooflinePanel(
  { conditions }: BenchReport,
  points: RooflinePoint[],
  all: RooflinePoint[],
  id: string,
  what: string,
): Panel {
  const { machine } = conditions
  const ridge = machine.matmulGflops / machine.memoryGbPerS
  const intensities = [ridge, ...all.map(({ intensity }) => intensity)]
  const [least, most] = [Math.min(...intensities) / 1.6, Math.max(...intensities) * 1.6]
  const speeds = [machine.matmulGflops, roofAt(least, machine), ...all.map(({ gflops }) => gflops)]
  const roofs = [least, ridge, most].map((intensity) => ({ intensity, gflops: roofAt(intensity, machine) }))
  const svg = draw(
    {
      height: 320,
      x: { ...logScale(least, most), ...centred('FLOP per weight byte') },
      y: {
        ...logScale(Math.min(...speeds) / 1.5, Math.max(...speeds) * 1.8),
        label: 'GFLOP/s',
        labelArrow: 'none',
        grid: true,
      },
      marks: [
        Plot.lineY(roofs, { x: 'intensity', y: 'gflops', stroke: 'currentColor', strokeWidth: 1.5 }),
        Plot.text(roofs.slice(1, 2), {
          ...HALO,
          x: 'intensity',
          y: 'gflops',
          text: () => `${short(machine.matmulGflops)} GFLOP/s`,
          textAnchor: 'start',
          dx: 4,
          dy: -9,
        }),
        Plot.text(roofs.slice(1, 2), {
          ...HALO,
          x: 'intensity',
          y: 'gflops',
          text: () => `${short(machine.memoryGbPerS)} GB/s`,
          textAnchor: 'end',
          dx: -14,
          dy: 8,
        }),
        ...pointsOf(points),
      ],
    },
    {
      id: `roofline-${id}`,
      title: `Roofline, ${what}`,
      description: `GFLOP/s against FLOP per weight byte for ${points.length} cases, under ${short(machine.matmulGflops)} GFLOP/s and ${short(machine.memoryGbPerS)} GB/s.`,
    },
  )
  return { caption: `${what[0].toUpperCase()}${what.slice(1)}`, svg }
}

/** Half of them show through: many lie on each other. */
function pointsOf(points: RooflinePoint[]): Plot.Markish[] {
  return dispatchesIn(points.map(({ row }) => row)).map((dispatch) =>
    Plot.dot(
      points.filter(({ row }) => row.dispatch === dispatch),
      {
        x: 'intensity',
        y: 'gflops',
        fill: colourOf(dispatch),
        fillOpacity: 0.7,
        symbol: LOOKS[dispatch].symbol,
        r: 3.5,
        title: hint,
        className: 'case',
      },
    ),
  )
}

function hint({ row, intensity, gflops, roof }: RooflinePoint): string {
  return `${row.id}: ${short(intensity)} FLOP per byte, ${short(gflops)} GFLOP/s, ${percent(gflops / roof)} of the roof`
}

function sentenceOf(points: RooflinePoint[], machine: MachineReadings): string {
  if (points.length === 0) return 'No case was timed, so there is nothing to put under the roofs.'
  const ridge = machine.matmulGflops / machine.memoryGbPerS
  const memory = points.filter(({ intensity }) => intensity < ridge)
  const cached = memory.filter(({ gflops, roof }) => gflops > roof)
  const said = (['dense', 'sparse'] as const).flatMap((dispatch) => {
    const best = points
      .filter(({ row }) => row.kind === 'layer' && row.dispatch === dispatch)
      .reduce<RooflinePoint | null>(
        (most, point) => (most && most.gflops > point.gflops ? most : point),
        null,
      )
    return best
      ? [
          `${dispatch} reaches at most ${short(best.gflops)} GFLOP/s (${percent(best.gflops / machine.matmulGflops)} of the matrix product, T=${best.row.tokens})`,
        ]
      : []
  })
  const layer = said.length > 0 ? ` In the layer ${listed(said)}.` : ''
  const over = points.filter((point) => !memory.includes(point) && point.gflops > point.roof)
  const above = [
    ...(cached.length > 0 ? [` Above the slope, with weights from a cache: ${cached.length}.`] : []),
    ...(over.length > 0
      ? [` Above the flat part, since the reading of the matrix product was disturbed: ${over.length}.`]
      : []),
  ].join('')
  return `${memory.length} of ${points.length} timed cases do fewer than ${short(ridge)} FLOPs for a byte of weights, so memory bounds them.${above}${layer}`
}

function tableOf(points: RooflinePoint[]): Cells {
  return [
    ['row', 'FLOP per byte', 'GFLOP/s', 'roof', 'of the roof'],
    ...points.map(({ row, intensity, gflops, roof }) => [
      row.id,
      short(intensity),
      short(gflops),
      short(roof),
      percent(gflops / roof),
    ]),
  ]
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}
