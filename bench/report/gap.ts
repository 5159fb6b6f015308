import type { BenchReport, Breakdown, LayerDims } from '../schema.ts'
import { isTimed } from './page-select.ts'

/**
 * Where the time of a sparse dispatch goes beyond its ideal share, milliseconds. `ideal` and the five parts add up to
 * `sparseMs`; a part may be negative.
 */
export interface Gap {
  tokens: number
  dims: LayerDims
  denseMs: number
  sparseMs: number
  /** denseMs K / E: dense's time if it fell as the FLOPs of the experts do. */
  ideal: number
  /** Experts on their own rows, less `ideal`: many small products use the machine worse than one large. */
  products: number
  router: number
  grouping: number
  combining: number
  /** What the whole takes less than its parts one by one (negative), or more. */
  together: number
  /** The parts were timed in a run of their own and are scaled to the row's time by this. */
  scale: number
}

/** Parts of the gap of every breakdown whose dense and sparse rows were timed op by op, as the parts were. */
export function gapsOf({ breakdown, rows }: Pick<BenchReport, 'breakdown' | 'rows'>): Gap[] {
  return breakdown.flatMap((parts) => {
    const timed = (dispatch: 'dense' | 'sparse') =>
      rows
        .filter(isTimed)
        .find((row) => row.group === parts.group && row.executor === 'eager' && row.dispatch === dispatch)
        ?.medianMs
    const [dense, sparse] = [timed('dense'), timed('sparse')]
    return dense === undefined || sparse === undefined ? [] : [gapOf(parts, dense, sparse)]
  })
}

/** See docs/report.md for the definition. */
export function gapOf(parts: Breakdown, denseMs: number, sparseMs: number): Gap {
  const { tokens, dims, routerMs, groupMs, matmulMs, combineMs, sumMs, totalMs } = parts
  const scale = sparseMs / totalMs
  const ideal = (denseMs * dims.K) / dims.E
  return {
    tokens,
    dims,
    denseMs,
    sparseMs,
    ideal,
    products: scale * matmulMs - ideal,
    router: scale * routerMs,
    grouping: scale * groupMs,
    combining: scale * combineMs,
    together: scale * (totalMs - sumMs),
    scale,
  }
}
