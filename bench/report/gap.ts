import type { BenchReport, Breakdown } from '../schema.ts'
import { barsPanel } from './chart.ts'
import { fixed, ms } from './format.ts'
import { colourOf, PARTS, type Part } from './palette.ts'
import { type Column, type Section, tableOf } from './section.ts'
import { isTimed } from './select.ts'

type Gap = ReturnType<typeof gapOf>

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

/**
 * Where the time of a sparse dispatch goes beyond its ideal share, ms (docs/report.md has the definition): `ideal` and the five
 * parts add up to `sparseMs`, a part may be negative. The parts were timed in a run of their own: `scale` makes them the row's.
 */
export function gapOf(parts: Breakdown, denseMs: number, sparseMs: number) {
  const { tokens, dims, routerMs, groupMs, matmulMs, combineMs, sumMs, totalMs } = parts
  const scale = sparseMs / totalMs
  const ideal = (denseMs * dims.K) / dims.E
  const [router, grouping, combining] = [scale * routerMs, scale * groupMs, scale * combineMs]
  // Many small products use the machine worse than one large; the whole takes less than its parts one by one, or more.
  const [products, together] = [scale * matmulMs - ideal, scale * (totalMs - sumMs)]
  return { tokens, dims, denseMs, sparseMs, ideal, products, router, grouping, combining, together, scale }
}

const PART_NAMES = Object.keys(PARTS) as Part[]

/** In per cent of dense's time. */
function shareOf(gap: Gap, part: Part | 'sparseMs'): number {
  return (100 * gap[part]) / gap.denseMs
}

/** Bars in % of dense's time: the ideal share, then what comes on top; what saves time goes to the left of zero. */
export function gapSection(report: BenchReport): Section {
  const gaps = gapsOf(report)
  const bars = gaps.flatMap((gap) =>
    PART_NAMES.map((part) => {
      const [group, value] = [`T=${gap.tokens}`, shareOf(gap, part)]
      const title = `${group}, ${PARTS[part]}: ${value.toFixed(1)} % of dense's time (${ms(gap[part])} ms)`
      return { group, name: part, colour: colourOf(part), value, title }
    }),
  )
  const legend = PART_NAMES.map((part) => ({ colour: colourOf(part), words: PARTS[part] }))
  const caption = "% of dense's time, op by op"
  const [last] = gaps.slice(-1)
  const said = last
    ? `At T=${last.tokens} sparse takes ${shareOf(last, 'sparseMs').toFixed(0)} % of dense's time where ${shareOf(last, 'ideal').toFixed(1)} % is ideal. `
    : ''
  return {
    id: 'gap-by-part',
    title: "Where sparse's time goes",
    sentence: `${said}docs/report.md defines the parts.`,
    panels: barsPanel({ id: 'gap', caption, legend }, bars, "% of dense's time", true),
    ...tableOf(gaps, [
      ['T', ({ tokens }) => String(tokens)],
      ...[...PART_NAMES, 'sparseMs' as const, 'denseMs' as const].map((part): Column<Gap> => {
        return [part.replace('Ms', ''), (gap) => ms(gap[part]), 'ms']
      }),
      ['parts times', ({ scale }) => fixed(scale)],
    ]),
  }
}
