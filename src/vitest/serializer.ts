import type { RoutingTrace } from '../model/trace.ts'
import { counted } from '../text/units.ts'
import { heatMap } from '../trace/heatmap.ts'
import { isTrace } from './subject.ts'

/** Columns of a snapshot: as wide as code is. */
const WIDTH = 100

/** Writes a trace in a snapshot as a heat map: tokens down, layers and experts across, weights as shades. */
export const traceSerializer = {
  test: (value: unknown): boolean => isTrace(value),
  serialize: (trace: RoutingTrace): string => {
    // Vitest takes the spaces before the first line away, so that line is no part of the map.
    const title = `trace of ${counted(trace.rows.length, 'token')}, ${counted(trace.layers.length, 'layer')} with a router`
    const map = trace.layers.length > 0 ? heatMap(trace, { width: WIDTH, depth: 0, legend: false }) : []
    return [title, ...map].join('\n')
  },
}
