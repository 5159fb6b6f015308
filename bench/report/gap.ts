import type { BenchReport, Breakdown, LayerDims } from '../schema.ts'
import { barsPanel } from './chart.ts'
import { ms } from './format.ts'
import { colourOf, PARTS, type Part } from './palette.ts'
import type { Panel } from './section.ts'
import { isTimed } from './select.ts'

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
    const [dense, sparse] = (['dense', 'sparse'] as const).map((dispatch) =>
      rows
        .filter(isTimed)
        .find((row) => row.group === parts.group && row.executor === 'eager' && row.dispatch === dispatch),
    )
    return dense && sparse ? [gapOf(parts, dense.medianMs, sparse.medianMs)] : []
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

export const PART_NAMES = Object.keys(PARTS) as Part[]

/** In per cent of dense's time. */
function shareOf(gap: Gap, part: Part | 'sparseMs'): number {
  return (100 * gap[part]) / gap.denseMs
}

/** Bars in % of dense's time: the ideal share, then what comes on top; what saves time goes to the left of zero. */
export function gapPanel(gaps: Gap[]): Panel[] {
  const bars = gaps.flatMap((gap) =>
    PART_NAMES.map((part) => {
      const [group, value] = [`T=${gap.tokens}`, shareOf(gap, part)]
      const title = `${group}, ${PARTS[part]}: ${value.toFixed(1)} % of dense's time (${ms(gap[part])} ms)`
      return { group, name: part, colour: colourOf(part), value, title }
    }),
  )
  const legend = PART_NAMES.map((part) => ({ colour: colourOf(part), words: PARTS[part] }))
  const words = { id: 'gap', caption: "Where sparse's time goes, op by op", legend }
  return barsPanel(words, bars, "% of dense's time", true)
}

/** Of the most tokens whose parts were timed. */
export function gapSentence(gaps: Gap[]): string {
  const gap = gaps.at(-1)
  if (!gap) return ''
  const [all, ideal] = [shareOf(gap, 'sparseMs').toFixed(0), shareOf(gap, 'ideal').toFixed(1)]
  return `At T=${gap.tokens}, op by op, sparse takes ${all} % of dense's time where ${ideal} % is ideal. `
}
