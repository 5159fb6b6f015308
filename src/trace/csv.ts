import type { LayerTrace, RoutingTrace } from '../model/trace.ts'
import { nineDigits } from '../text/number.ts'

/** Columns, in order, with the types they have as a table (such as Parquet's). */
export const CSV_COLUMNS = {
  layer: 'int32',
  sequence: 'int32',
  position: 'int32',
  token: 'int32',
  /** Always quoted; empty without quotes where there is no tokenizer. */
  text: 'string?',
  /** 0 is the most preferred expert. */
  rank: 'int32',
  /** -1 where a capacity limit dropped the assignment. */
  expert: 'int32',
  /** 0 where dropped. */
  weight: 'float32',
  /** Of this expert; empty where dropped. */
  score: 'float32?',
  logit: 'float32?',
  /** Of the token, the same in all its ranks; empty where there is none. */
  margin: 'float64?',
  entropy: 'float32',
} as const

/**
 * A trace as CSV lines (RFC 4180: CRLF, quotes doubled), the heading first, then one line per layer, token and rank.
 * No value is nested, so that a table reader needs no help.
 */
export function* traceToCsv(trace: RoutingTrace, texts: readonly string[] | null = null): Generator<string> {
  yield `${Object.keys(CSV_COLUMNS).join(',')}\r\n`
  for (const layer of trace.layers) {
    for (const [t, { sequence, position, token }] of trace.rows.entries()) {
      const text = texts ? `"${texts[t].replaceAll('"', '""')}"` : ''
      for (let rank = 0; rank < layer.topK; rank++) {
        const choice = choiceColumns(layer, t, rank)
        yield `${[layer.layer, sequence, position, token, text, rank, ...choice].join(',')}\r\n`
      }
    }
  }
}

function choiceColumns(layer: LayerTrace, t: number, rank: number): (string | number)[] {
  const { numExperts: E, topK: K } = layer
  const expert = layer.expertIndices[t * K + rank]
  const ofExpert = (values: Float32Array) => (expert < 0 ? '' : nineDigits(values[t * E + expert]))
  return [
    expert,
    nineDigits(layer.expertWeights[t * K + rank]),
    ofExpert(layer.scores),
    ofExpert(layer.routerLogits),
    layer.margins[t] ?? '',
    nineDigits(layer.entropies[t]),
  ]
}
