import type { LayerTrace, RoutingTrace } from '../../model/trace.ts'
import { expertColour } from '../../trace/colours.ts'
import { weightShares } from '../../trace/statistics.ts'
import { memo } from '../parts/memo.ts'
import { tokenText } from './tokens.tsx'

export interface HeatPlace {
  row: number
  /** Among the mixture layers, counted from 0. */
  layerIndex: number
}

export interface HeatMapProps {
  trace: RoutingTrace
  texts: readonly string[]
  selected: HeatPlace
  onSelect(place: HeatPlace): void
  /** Rows that another run decided otherwise, by mixture layer. */
  isChanged?: (place: HeatPlace) => boolean
  /** Called for a click on an expert's heading. */
  onExpert?: (layerIndex: number, expert: number) => void
  isOff?: (layerIndex: number, expert: number) => boolean
}

/** Pixels of an expert's place; narrower where there are many. */
const cellWidth = (E: number) => (E <= 8 ? 14 : E <= 16 ? 11 : Math.max(3, 180 / E))
const HEIGHT = 20
/** Pixels as a length that grows with the reader's letters. */
const rem = (pixels: number) => `${pixels / 17}rem`

const MOVES: Partial<Record<string, [number, number]>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
}

/** Where an arrow key leads; null for other keys. */
function movedBy(key: string, { row, layerIndex }: HeatPlace, last: HeatPlace): HeatPlace | null {
  const move = MOVES[key]
  const clamp = (value: number, most: number) => Math.max(0, Math.min(most, value))
  if (!move) return null
  return { row: clamp(row + move[0], last.row), layerIndex: clamp(layerIndex + move[1], last.layerIndex) }
}

/** Tokens down, layers across: one cell a decision, one place in it an expert. Arrow keys move between decisions. */
export function HeatMap(props: HeatMapProps) {
  const { trace, texts, selected, onSelect, isChanged } = props
  const last = { row: trace.rows.length - 1, layerIndex: trace.layers.length - 1 }
  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLElement }) => {
    const place = movedBy(event.key, selected, last)
    if (!place) return
    event.preventDefault()
    onSelect(place)
    const { currentTarget: table } = event
    requestAnimationFrame(() =>
      table.querySelector<HTMLElement>(`[data-place="${place.row}:${place.layerIndex}"]`)?.focus(),
    )
  }
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be reached with the keyboard
    <section class="heat-scroll" tabIndex={0} aria-label="Heat map of tokens and experts">
      <table class="heat" onKeyDown={onKeyDown}>
        <caption class="unseen">Experts of each token in each layer; arrow keys move.</caption>
        <thead>
          <tr>
            <th scope="col">token</th>
            {trace.layers.map((layer, layerIndex) => (
              <th scope="col" key={layer.layer}>
                layer {layer.layer}
                <ExpertHeads {...props} layer={layer} layerIndex={layerIndex} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {trace.rows.map((_, row) => (
            <Row
              key={row}
              row={row}
              trace={trace}
              text={texts[row]}
              selectedLayer={row === selected.row ? selected.layerIndex : -1}
              onSelect={onSelect}
              changed={
                isChanged ? trace.layers.map((_, layerIndex) => isChanged({ row, layerIndex })).join() : ''
              }
            />
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">tokens</th>
            {trace.layers.map((layer) => (
              <td key={layer.layer}>
                <Load layer={layer} />
              </td>
            ))}
          </tr>
        </tfoot>
      </table>
    </section>
  )
}

function ExpertHeads({
  layer,
  layerIndex,
  onExpert,
  isOff,
}: HeatMapProps & { layer: LayerTrace; layerIndex: number }) {
  const width = cellWidth(layer.numExperts)
  const experts = Array.from({ length: layer.numExperts }, (_, e) => e)
  return (
    <span class={layer.numExperts > 8 ? 'heads many' : 'heads'}>
      {experts.map((e) => {
        const off = isOff?.(layerIndex, e) ?? false
        if (!onExpert)
          return (
            <span key={e} style={{ width: rem(width) }} aria-hidden="true">
              {width >= 11 ? e : ''}
            </span>
          )
        return (
          <button
            key={e}
            type="button"
            style={{ width: rem(width) }}
            aria-label={`Expert ${e} of layer ${layer.layer}${off ? ', switched off' : ''}`}
            class={off ? 'off' : ''}
            onClick={() => onExpert(layerIndex, e)}
          >
            {width >= 11 ? e : '·'}
          </button>
        )
      })}
    </span>
  )
}

interface RowProps {
  row: number
  trace: RoutingTrace
  text: string
  /** -1: none. */
  selectedLayer: number
  onSelect(place: HeatPlace): void
  /** `true` or `false` a layer, joined by commas. */
  changed: string
}

const Row = memo<RowProps>(
  ({ row, trace, text, selectedLayer, onSelect, changed }) => {
    const marks = changed.split(',')
    return (
      <tr class={selectedLayer >= 0 ? 'current' : ''}>
        <th scope="row">
          <span class="position">{row}</span> {tokenText(text)}
        </th>
        {trace.layers.map((layer, layerIndex) => (
          <td key={layer.layer}>
            <button
              type="button"
              class={`decision${marks[layerIndex] === 'true' ? ' changed' : ''}`}
              data-place={`${row}:${layerIndex}`}
              aria-pressed={selectedLayer === layerIndex}
              aria-label={`token ${row}, layer ${layer.layer}: ${decisionText(layer, row)}`}
              tabIndex={selectedLayer === layerIndex ? 0 : -1}
              onClick={() => onSelect({ row, layerIndex })}
            >
              <Cells layer={layer} row={row} />
            </button>
          </td>
        ))}
      </tr>
    )
  },
  (a, b) =>
    a.trace === b.trace &&
    a.selectedLayer === b.selectedLayer &&
    a.text === b.text &&
    a.changed === b.changed,
)

function decisionText({ expertIndices, expertWeights, topK: K }: LayerTrace, row: number): string {
  return Array.from(expertIndices.subarray(row * K, (row + 1) * K), (e, rank) =>
    e < 0 ? 'dropped' : `expert ${e} ${expertWeights[row * K + rank].toFixed(2)}`,
  ).join(', ')
}

function Cells({ layer, row }: { layer: LayerTrace; row: number }) {
  const { numExperts: E, topK: K } = layer
  const width = cellWidth(E)
  const shares = weightShares(layer, row)
  const experts = layer.expertIndices.subarray(row * K, (row + 1) * K)
  return (
    <svg
      viewBox={`0 0 ${E * width} ${HEIGHT}`}
      style={{ width: rem(E * width), height: rem(HEIGHT) }}
      aria-hidden="true"
    >
      <rect class="empty" width={E * width} height={HEIGHT} rx="3" />
      {Array.from(experts, (e, rank) =>
        e < 0 ? null : (
          <rect
            key={e}
            x={e * width + 0.5}
            y="1"
            width={width - 1}
            height={HEIGHT - 2}
            rx="2"
            fill={expertColour(e)}
            fill-opacity={0.25 + 0.75 * shares[rank]}
          />
        ),
      )}
      {experts.includes(-1) && <path class="dropped" d={`M2 ${HEIGHT - 2} h${E * width - 4}`} />}
    </svg>
  )
}

function Load({ layer }: { layer: LayerTrace }) {
  const { numExperts: E, tokensPerExpert } = layer
  const width = cellWidth(E)
  const most = Math.max(1, ...tokensPerExpert)
  const full = 34
  return (
    <svg
      viewBox={`0 0 ${E * width} ${full + 14}`}
      style={{ width: rem(E * width), height: rem(full + 14) }}
      role="img"
      aria-label={`tokens of each expert: ${Array.from(tokensPerExpert).join(', ')}`}
    >
      {Array.from(tokensPerExpert, (tokens, e) => (
        <g key={e}>
          <rect
            x={e * width + 1}
            y={full - (full * tokens) / most}
            width={width - 2}
            height={(full * tokens) / most}
            rx="1"
            fill={expertColour(e)}
          />
          {width >= 11 && (
            <text x={(e + 0.5) * width} y={full + 11}>
              {tokens}
            </text>
          )}
        </g>
      ))}
    </svg>
  )
}
