import * as Plot from '@observablehq/plot'
import type { BenchReport, Breakdown, LayerDims } from '../schema.ts'
import { centred, panel } from './charts.ts'
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
export function gapPanel(gaps: Gap[]): Panel {
  const pieces = gaps.flatMap((gap) =>
    PART_NAMES.map((part) => ({ name: `T=${gap.tokens}`, part, share: shareOf(gap, part), ms: gap[part] })),
  )
  const totals = gaps.map((gap) => ({ name: `T=${gap.tokens}`, share: shareOf(gap, 'sparseMs') }))
  const right = (name: string) =>
    pieces.reduce((sum, piece) => sum + (piece.name === name ? Math.max(0, piece.share) : 0), 0)
  const largest = Math.max(...totals.map(({ name }) => right(name)))
  const least = Math.min(0, ...pieces.map(({ share }) => share))
  const nearDense = largest > 80
  return panel(
    {
      id: 'gap',
      caption: "Where sparse's time goes, op by op",
      legend: PART_NAMES.map((part) => ({ colour: colourOf(part), words: PARTS[part].words })),
    },
    {
      height: 110 + 46 * gaps.length,
      marginLeft: 62,
      marginRight: 66,
      x: {
        ...centred("% of dense's time"),
        grid: true,
        ticks: 6,
        ...(nearDense ? { domain: [least, Math.max(100, largest)] } : {}),
      },
      y: { label: null, domain: totals.map(({ name }) => name), padding: 0.35 },
      marks: [
        Plot.barX(pieces, {
          y: 'name',
          x: 'share',
          fill: ({ part }) => colourOf(part),
          order: PART_NAMES,
          z: 'part',
          title: ({ name, part, share, ms: time }) =>
            `${name}, ${PARTS[part as Part].words}: ${share.toFixed(1)} % of dense's time (${ms(time)} ms)`,
        }),
        Plot.ruleX([0]),
        ...(nearDense ? [Plot.ruleX([100], { stroke: 'var(--dense)', strokeDasharray: '5 4' })] : []),
        Plot.text(totals, {
          y: 'name',
          x: ({ name }) => right(name),
          text: ({ share }) => `${share.toFixed(0)} % in all`,
          dx: 6,
          textAnchor: 'start',
        }),
      ],
    },
  )
}

/** Of the most tokens whose parts were timed. */
export function gapSentence({ breakdown }: BenchReport, gaps: Gap[]): string {
  const gap = gaps.at(-1)
  if (gap) {
    const [all, ideal] = [shareOf(gap, 'sparseMs').toFixed(0), shareOf(gap, 'ideal').toFixed(1)]
    return `At T=${gap.tokens}, op by op, sparse takes ${all} % of dense's time where ${ideal} % is ideal; the bars show what lies between.`
  }
  const why =
    breakdown.length > 0
      ? 'dense and sparse were not both timed where the parts were'
      : 'the parts were not timed'
  return `The gap is not explained by part: ${why}.`
}
