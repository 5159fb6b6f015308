import { expertCapacity } from '../../model/router/capacity.ts'
import type { RoutingTrace } from '../../model/trace.ts'
import { chosenExperts } from '../../trace/statistics.ts'

/** When writing stops by itself. */
export interface Breakpoints {
  /** A layer sends the newest token to an expert; null: off. */
  send: { layer: number; expert: number } | null
  /** A router was nearly undecided: the margin is below; null: off. */
  margin: number | null
  /** An expert that the newest token wants has more tokens than seats at this capacity factor; null: off. */
  overflow: number | null
}

export const NO_BREAKS: Breakpoints = { send: null, margin: null, overflow: null }

/** Why a run stops at its newest token, a sentence; null: it does not. */
export function breakAt({ send, margin, overflow }: Breakpoints, trace: RoutingTrace): string | null {
  const row = trace.rows.length - 1
  for (const layer of trace.layers) {
    const experts = chosenExperts(layer, row)
    if (send?.layer === layer.layer && experts.includes(send.expert)) {
      return `Layer ${layer.layer} sent token ${row} to expert ${send.expert}.`
    }
    const own = layer.margins[row]
    if (margin !== null && own !== null && own < margin) {
      return `Layer ${layer.layer} was nearly undecided about token ${row}: margin ${own.toFixed(4)}.`
    }
    if (overflow === null) continue
    const seats = expertCapacity(overflow, trace.rows.length, layer.topK, layer.numExperts)
    const full = experts.find((e) => layer.tokensPerExpert[e] > seats)
    if (full !== undefined) {
      return `Expert ${full} of layer ${layer.layer} overflows: ${layer.tokensPerExpert[full]} tokens for ${seats} seats.`
    }
  }
  return null
}
