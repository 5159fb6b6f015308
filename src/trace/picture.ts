import type { LayerTrace, RoutingTrace } from '../model/trace.ts'
import { fitted, wrapped } from '../text/columns.ts'
import { escaped, quoted } from '../text/foreign.ts'
import { counted } from '../text/units.ts'
import { escapeXml } from '../text/xml.ts'
import { expertColour } from './colours.ts'
import { loadBalanceLoss, weightShares } from './statistics.ts'

/** Pixels. */
const ROW = 18
const HEAD = 44
const BARS = 64
const FOOT = 30
const GAP = 22
const MARGIN = 12
const CHARACTER = 7.3
const TITLE_LINE = 18

/** Columns of a token's text at most, quotes included. */
const TEXT_WIDTH = 18

const LOSS = 'load-balance loss'

/** Light and dark by the reader's setting, so that a page and an image alone look alike. */
export const PICTURE_STYLE = `
.routing { --ink: #1f2328; --muted: #656d76; --stripe: #f3f5f7; --paper: #ffffff; color-scheme: light dark }
@media (prefers-color-scheme: dark) {
  .routing { --ink: #e6edf3; --muted: #9198a1; --stripe: #1c2128; --paper: #0d1117 }
}
.routing text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: var(--ink); white-space: pre }
.routing .small { font-size: 10px }
.routing .title { font-weight: 600 }
.routing .muted { fill: var(--muted) }
.routing .paper { fill: var(--paper) }
.routing .stripe { fill: var(--stripe) }
.routing .even { stroke: var(--muted); stroke-dasharray: 3 3 }
.routing .end { text-anchor: end }
.routing .middle { text-anchor: middle }
`

/**
 * The routing as one SVG: tokens down, layers and experts across, a square for each chosen expert, fainter for a smaller
 * weight; below, the tokens of each expert as bars against an even load. Decisions are `<g class="decision" data-t
 * data-l>` for a page to listen to. `changes` says above it what was changed about the routing.
 */
export function tracePicture(
  trace: RoutingTrace,
  texts: readonly string[] | null,
  changes: string | null = null,
): string {
  const labels = trace.rows.map(({ position, token }, t) =>
    texts
      ? `${String(position).padStart(4)}  ${fitted(quoted(texts[t]), TEXT_WIDTH)}`
      : `${String(position).padStart(4)}  ${String(token).padEnd(7)}`,
  )
  const left = MARGIN + Math.max(LOSS.length, ...labels.map((label) => label.length)) * CHARACTER + 10
  const places = placesOf(trace.layers, left)
  const last = places[places.length - 1]
  const width = Math.ceil(last.x + last.width + MARGIN)
  const bottom = HEAD + trace.rows.length * ROW
  const height = bottom + BARS + FOOT
  const columns = Math.floor((width - 2 * MARGIN) / CHARACTER)
  const title = changes ? wrapped(`changed: ${escaped(changes)}`, columns) : []
  const above = title.length * TITLE_LINE
  const changed = changes ? `, changed: ${escaped(changes)}` : ''
  const summary = `${counted(trace.rows.length, 'token')}, ${counted(trace.layers.length, 'layer')}${changed}`
  return [
    `<svg class="routing" xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height + above}" viewBox="0 ${-above} ${width} ${height + above}" role="img" aria-label="Experts chosen: ${escapeXml(summary)}">`,
    `<style>${PICTURE_STYLE}</style>`,
    `<rect class="paper" y="${-above}" width="${width}" height="${height + above}" rx="6"/>`,
    ...title.map(
      (line, i) =>
        `<text class="title" x="${MARGIN}" y="${(i + 1) * TITLE_LINE - above}">${escapeXml(line)}</text>`,
    ),
    ...labels.map((label, t) => `<text x="${MARGIN}" y="${HEAD + t * ROW + 13}">${escapeXml(label)}</text>`),
    `<text class="muted end" x="${left - 8}" y="${bottom + 40}">tokens</text>`,
    `<text class="muted end" x="${left - 8}" y="${bottom + BARS + 18}">${LOSS}</text>`,
    ...places.map((place, l) => layerPicture(trace, place, l, bottom)),
    '</svg>',
  ].join('\n')
}

/** A layer's place in the picture. */
interface Place {
  layer: LayerTrace
  x: number
  /** Pixels of an expert. */
  cell: number
  width: number
}

function placesOf(layers: LayerTrace[], left: number): Place[] {
  let x = left
  return layers.map((layer) => {
    const E = layer.numExperts
    const cell = E <= 16 ? 15 : Math.max(4, 240 / E)
    const place = { layer, x, cell, width: Math.max(70, E * cell) }
    x += place.width + GAP
    return place
  })
}

function layerPicture(trace: RoutingTrace, place: Place, l: number, bottom: number): string {
  const { layer, x, cell } = place
  const every = Math.ceil(14 / cell) // experts that have a number
  const numbers = Array.from({ length: layer.numExperts }, (_, e) =>
    e % every === 0
      ? `<text class="small muted middle" x="${px(x + (e + 0.5) * cell)}" y="${HEAD - 6}">${e}</text>`
      : '',
  ).join('')
  const loss = loadBalanceLoss(layer).toFixed(2)
  return [
    `<g><text class="title" x="${px(x)}" y="18">layer ${layer.layer}</text>${numbers}`,
    ...trace.rows.map((_, t) => decisionPicture(place, t, l)),
    loadPicture(place, bottom),
    `<text x="${px(x)}" y="${bottom + BARS + 18}">${loss}</text></g>`,
  ].join('\n')
}

function decisionPicture({ layer, x, cell }: Place, t: number, l: number): string {
  const { topK: K, numExperts: E } = layer
  const experts = layer.expertIndices.subarray(t * K, (t + 1) * K)
  const weights = layer.expertWeights.subarray(t * K, (t + 1) * K)
  const shares = weightShares(layer, t)
  const y = HEAD + t * ROW
  const squares = Array.from(experts, (e, k) => {
    if (e < 0) return ''
    const opacity = 0.2 + 0.8 * shares[k]
    return `<rect x="${px(x + e * cell + 0.5)}" y="${y + 1}" width="${px(cell - 1)}" height="${ROW - 3}" rx="2" fill="${expertColour(e)}" fill-opacity="${opacity.toFixed(2)}"/>`
  })
  const chosen = Array.from(experts, (e, k) => (e < 0 ? 'dropped' : `expert ${e}: ${weights[k].toFixed(3)}`))
  return (
    `<g class="decision" data-t="${t}" data-l="${l}"><title>${chosen.join('\n')}</title>` +
    `<rect class="stripe" x="${px(x)}" y="${y}" width="${px(E * cell)}" height="${ROW - 1}" rx="2"/>${squares.join('')}</g>`
  )
}

/** Bars of the tokens that each expert got; the dashed line is an even load. */
function loadPicture({ layer, x, cell }: Place, bottom: number): string {
  const { tokensPerExpert, numExperts: E } = layer
  const most = Math.max(1, ...tokensPerExpert)
  const full = BARS - 30
  const base = bottom + BARS - 18
  const bars = Array.from(tokensPerExpert, (tokens, e) => {
    const height = (tokens / most) * full
    const bar = `<rect x="${px(x + e * cell + 1)}" y="${px(base - height)}" width="${px(cell - 2)}" height="${px(height)}" rx="1" fill="${expertColour(e)}"><title>expert ${e}: ${counted(tokens, 'token')}</title></rect>`
    const number = `<text class="small muted middle" x="${px(x + (e + 0.5) * cell)}" y="${base + 11}">${tokens}</text>`
    return cell >= 14 ? bar + number : bar
  })
  const even = base - (tokensPerExpert.reduce((a, b) => a + b, 0) / E / most) * full
  return `${bars.join('')}<line class="even" x1="${px(x)}" x2="${px(x + E * cell)}" y1="${px(even)}" y2="${px(even)}"/>`
}

function px(value: number): string {
  return String(Math.round(value * 100) / 100)
}
