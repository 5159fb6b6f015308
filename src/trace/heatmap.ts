import type { LayerTrace, RoutingTrace } from '../model/trace.ts'
import { alignedLines, displayWidth, fitted, wrapped } from '../text/columns.ts'
import { escaped, quoted } from '../text/foreign.ts'
import { bold, type ColourDepth, dim, painted } from './ansi.ts'
import { loadBalanceLoss, weightShares } from './statistics.ts'

export interface HeatMapOptions {
  /** What the tokens stand for, one a row; without, only their ids are shown. */
  texts?: readonly string[] | null
  /** What was changed about the routing, in words; null or left out: nothing. */
  changes?: string | null
  /** Columns of the terminal; layers that do not fit side by side go below each other. */
  width: number
  depth: ColourDepth
  /** Whether what the shades mean is said below; default true. */
  legend?: boolean
}

/** Columns of a token's text at most, quotes included. */
const TEXT_WIDTH = 16

/** Columns that a layer gets however narrow the terminal is. */
const LEAST_WIDTH = 16

/** A quarter, half, three quarters, all of the largest weight that the token has in the layer. */
const SHADES = ['░', '▒', '▓', '█']

const LOSS = 'load-balance loss'

/** Some experts of one layer, side by side: all of them, where they fit. */
interface Block {
  trace: LayerTrace
  /** First expert, and the one after the last. */
  from: number
  to: number
  /** Columns of an expert. */
  cell: number
  title: string
  /** Columns of the whole. */
  width: number
}

/**
 * Which experts each token went to: tokens down, layers and experts across, weights as shades; below, the tokens of each
 * expert and the load-balance loss of each layer. Expert numbers and token counts are written downwards.
 */
export function heatMap(
  trace: RoutingTrace,
  { texts, changes, width, depth, legend = true }: HeatMapOptions,
): string[] {
  const labels = rowLabels(trace, texts ?? null)
  const labelWidth = displayWidth(labels[0])
  const bands = bandsOf(trace.layers, Math.max(LEAST_WIDTH, width - labelWidth - 2))
  const lines = bands.flatMap((band, i) => [...(i > 0 ? [''] : []), ...bandLines(band, labels, depth)])
  const title = changes
    ? [...wrapped(`changed: ${escaped(changes)}`, width).map((line) => bold(line, depth)), '']
    : []
  const below = legend ? ['', ...legendLines(trace, width).map((line) => dim(line, depth))] : []
  return [...title, ...lines, ...below]
}

function bandLines(band: Block[], labels: string[], depth: ColourDepth): string[] {
  const aside = (text: string) => text.padStart(displayWidth(labels[0]))
  const line = (label: string, cells: (block: Block) => string) =>
    `${label}${band.map((block) => `  ${cells(block)}`).join('')}`.trimEnd()
  const numbers = (label: string, of: (trace: LayerTrace, expert: number) => number) => {
    const digits = Math.max(
      ...band.flatMap(({ trace }) =>
        Array.from({ length: trace.numExperts }, (_, e) => String(of(trace, e)).length),
      ),
    )
    return Array.from({ length: digits }, (_, place) =>
      line(aside(place === digits - 1 ? label : ''), (block) =>
        acrossExperts(block, (e) =>
          painted(String(of(block.trace, e)).padStart(digits)[place].padStart(block.cell), e, depth),
        ),
      ),
    )
  }
  return [
    line(aside(''), ({ title, width }) => bold(title, depth) + ' '.repeat(width - title.length)),
    ...numbers('expert', (_, e) => e),
    ...labels.map((label, t) => line(label, (block) => tokenCells(block, t, depth))),
    ...numbers('tokens', (trace, e) => trace.tokensPerExpert[e]),
    line(aside(LOSS), ({ trace, from, width }) =>
      (from === 0 ? loadBalanceLoss(trace).toFixed(2) : '').padEnd(width),
    ),
  ]
}

/** Position, token and text, all of the same width. */
function rowLabels({ rows }: RoutingTrace, texts: readonly string[] | null): string[] {
  const batch = rows.some(({ sequence }) => sequence !== rows[0].sequence)
  const numbers = rows.map(({ sequence, position, token }) =>
    (batch ? [sequence, position, token] : [position, token]).map(String),
  )
  const shown = texts?.map(quoted)
  const textWidth = Math.min(TEXT_WIDTH, Math.max(0, ...(shown ?? []).map(displayWidth)))
  const labels = alignedLines(numbers).map((line, t) =>
    shown ? `${line}  ${fitted(shown[t], textWidth)}` : line,
  )
  const missing = LOSS.length - displayWidth(labels[0])
  return labels.map((label) => (missing > 0 ? ' '.repeat(missing) + label : label))
}

/** Layers side by side as they fit; one that does not fit by itself is cut. */
function bandsOf(layers: LayerTrace[], width: number): Block[][] {
  const bands: Block[][] = []
  let used = Number.POSITIVE_INFINITY
  for (const block of layers.flatMap((layer) => blocksOf(layer, width))) {
    if (used + 2 + block.width > width) {
      bands.push([])
      used = -2
    }
    bands[bands.length - 1].push(block)
    used += 2 + block.width
  }
  return bands
}

function blocksOf(trace: LayerTrace, width: number): Block[] {
  const E = trace.numExperts
  const extra = droppedIn(trace) > 0 ? 3 : 0
  const cell = 2 * E + extra <= width ? 2 : 1
  const experts = Math.min(E, width - extra)
  return Array.from({ length: Math.ceil(E / experts) }, (_, i) => {
    const [from, to] = [i * experts, Math.min(E, (i + 1) * experts)]
    const title = `layer ${trace.layer}${experts < E ? `, ${from}-${to - 1}` : ''}`
    return { trace, from, to, cell, title, width: Math.max(title.length, (to - from) * cell + extra) }
  })
}

function tokenCells(block: Block, t: number, depth: ColourDepth): string {
  const { trace, cell } = block
  const K = trace.topK
  const experts = [...trace.expertIndices.subarray(t * K, (t + 1) * K)]
  const shares = weightShares(trace, t)
  const cells = acrossExperts(block, (e) => {
    const rank = experts.indexOf(e)
    if (rank < 0) return dim('·'.padStart(cell), depth)
    return painted(shade(shares[rank]).repeat(cell), e, depth)
  })
  const dropped = experts.filter((e) => e < 0).length
  return dropped > 0 ? cells.trimEnd() + ` ×${dropped}`.padEnd(spaceAfter(block)) : cells
}

function acrossExperts(block: Block, text: (expert: number) => string): string {
  const { from, to } = block
  const cells = Array.from({ length: to - from }, (_, i) => text(from + i)).join('')
  return cells + ' '.repeat(spaceAfter(block))
}

/** Columns of a block right of its experts. */
function spaceAfter({ from, to, cell, width }: Block): number {
  return width - (to - from) * cell
}

/** Of a share of the largest. */
export function shade(share: number): string {
  return SHADES[Math.max(0, Math.ceil(share * SHADES.length) - 1)]
}

function legendLines({ layers }: RoutingTrace, width: number): string[] {
  const shades =
    '░ ▒ ▓ █ up to 1/4, 1/2, 3/4, all of the largest weight of the token in the layer; · not chosen'
  const drops = '; ×n assignments of the token dropped by the capacity limit'
  return wrapped(shades + (layers.some((layer) => droppedIn(layer) > 0) ? drops : ''), width)
}

function droppedIn({ expertIndices }: LayerTrace): number {
  return expertIndices.filter((e) => e < 0).length
}
