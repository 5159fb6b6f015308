import * as Plot from '@observablehq/plot'
import type { MachineReadings } from '../../src/device/index.ts'
import type { BenchReport } from '../schema.ts'
import { byDispatch, centred, logScale, panel, upright } from './chart.ts'
import { capitalised, percent, short } from './format.ts'
import { type Panel, type Section, tableOf } from './section.ts'
import { dispatchesIn, EXECUTOR_WORDS, executorsOf } from './select.ts'

type RooflinePoint = ReturnType<typeof rooflinePoints>[number]

/** GFLOP/s that can be reached at an intensity: Williams, Waterman and Patterson (2009). GB/s times FLOP/byte is GFLOP/s. */
export function roofAt(intensity: number, { matmulGflops, memoryGbPerS }: MachineReadings): number {
  return Math.min(matmulGflops, memoryGbPerS * intensity)
}

/** Rows under the roofs, at their FLOPs for a weight byte that the call has to read. */
export function rooflinePoints({ rows, conditions }: BenchReport) {
  return rows.flatMap((row) => {
    if (row.gflopsPerSecond === null || !row.weightBytes) return []
    const intensity = (row.flopsCounted ?? row.flops) / row.weightBytes
    return [{ row, intensity, gflops: row.gflopsPerSecond, roof: roofAt(intensity, conditions.machine) }]
  })
}

/** Every case under the machine's two roofs. */
export function rooflineSection(report: BenchReport): Section {
  const points = rooflinePoints(report)
  const { machine } = report.conditions
  const ridge = machine.matmulGflops / machine.memoryGbPerS
  return {
    id: 'roofline',
    title: 'Roofline: what bounds each case',
    sentence: `${points.filter(({ intensity }) => intensity < ridge).length} of ${points.length} timed cases do fewer than ${short(ridge)} FLOPs for a byte of weights: memory bounds those, arithmetic the others. Above the slope weights came from a cache.`,
    dispatches: dispatchesIn(points.map(({ row }) => row)),
    panels: (['layer', 'model'] as const).flatMap((kind) =>
      executorsOf(report, kind).flatMap((executor) => {
        const isOwn = ({ row }: RooflinePoint) =>
          row.executor === executor && (row.kind === 'layer') === (kind === 'layer')
        const own = points.filter(isOwn)
        const caption = `${capitalised(kind)}, ${EXECUTOR_WORDS[executor]}`
        return own.length > 0 ? [rooflinePanel(machine, own, points, `${kind}-${executor}`, caption)] : []
      }),
    ),
    ...tableOf(points, [
      ['row', ({ row }) => row.id],
      ['FLOP per byte', ({ intensity }) => short(intensity)],
      ['GFLOP/s', ({ gflops }) => short(gflops)],
      ['roof', ({ roof }) => short(roof)],
      ['of the roof', ({ gflops, roof }) => percent(gflops / roof)],
    ]),
  }
}

/** All panels have the scales of `all`. */
function rooflinePanel(
  machine: MachineReadings,
  points: RooflinePoint[],
  all: RooflinePoint[],
  id: string,
  caption: string,
): Panel {
  const { matmulGflops, memoryGbPerS } = machine
  const x = logScale([matmulGflops / memoryGbPerS, ...all.map(({ intensity }) => intensity)])
  const [least, most] = x.domain as number[]
  const y = logScale([matmulGflops, roofAt(least, machine), ...all.map(({ gflops }) => gflops)])
  const corners = [least, matmulGflops / memoryGbPerS, most]
  const roofs = corners.map((intensity) => ({ intensity, gflops: roofAt(intensity, machine) }))
  const at = { x: 'intensity', y: 'gflops' }
  return panel(
    {
      id: `roofline-${id}`,
      caption: `${caption}: ${short(matmulGflops)} GFLOP/s, ${short(memoryGbPerS)} GB/s`,
    },
    {
      height: 320,
      x: { ...x, ...centred('FLOP per weight byte') },
      y: upright('GFLOP/s', y),
      marks: [
        Plot.lineY(roofs, { ...at, stroke: 'currentColor', strokeWidth: 1.5 }),
        // Points show through: many lie on each other.
        ...byDispatch(
          points.map((point) => ({ ...point, dispatch: point.row.dispatch })),
          (own, { colour, symbol }) => [
            Plot.dot(own, { ...at, fill: colour, fillOpacity: 0.7, symbol, r: 3.5, title: hint }),
          ],
        ),
      ],
    },
  )
}

function hint({ row, intensity, gflops, roof }: RooflinePoint): string {
  return `${row.id}: ${short(intensity)} FLOP per byte, ${short(gflops)} GFLOP/s, ${percent(gflops / roof)} of the roof`
}
