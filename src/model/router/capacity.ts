import { topK } from './top-k.ts'
import type { RouterState } from './types.ts'

/** Tokens an expert may take: ceil(factor T K / E), at least 1 (GShard, Lepikhin et al. 2020, with top-k counted in). */
export function expertCapacity(factor: number, tokens: number, topK: number, numExperts: number): number {
  const share = (factor * tokens * topK) / numExperts
  return Math.max(1, Math.ceil(Number(share.toPrecision(12)))) // 1.1 x 30 is 33, and not a rounding error more
}

/**
 * Seats assignments until experts are full: first choices of all tokens in order, then second choices, and so on.
 * A dropped assignment has expert -1 and weight 0; the token's other weights stay as they are.
 */
export function applyCapacity(state: RouterState): Pick<RouterState, 'expertIndices' | 'expertWeights'> {
  const { intervention, T, E, K } = state
  const { factor, policy } = intervention.capacity as NonNullable<typeof intervention.capacity>
  const expertIndices = state.expertIndices.slice()
  const expertWeights = state.expertWeights.slice()
  if (policy === 'none') return { expertIndices, expertWeights }
  const capacity = expertCapacity(factor, T, K, E)
  const taken = new Int32Array(E)
  for (let rank = 0; rank < K; rank++) {
    for (let t = 0; t < T; t++) {
      const at = t * K + rank
      const wanted = state.expertIndices[at]
      if (wanted < 0) continue // a replayed trace may hold assignments that were dropped when it was recorded
      const seat =
        taken[wanted] < capacity
          ? wanted
          : policy === 'drop'
            ? -1
            : nextBest(state, expertIndices, t, taken, capacity)
      expertIndices[at] = seat
      if (seat >= 0) taken[seat]++
      else expertWeights[at] = 0
    }
  }
  return { expertIndices, expertWeights }
}

/** The token's best expert with room that it has not got already; -1 when there is none. */
function nextBest(
  { compared, expertIndices: wanted, E, K }: RouterState,
  seated: Int32Array,
  t: number,
  taken: Int32Array,
  capacity: number,
): number {
  const own = new Set([...seated.subarray(t * K, (t + 1) * K), ...wanted.subarray(t * K, (t + 1) * K)])
  const row = compared.subarray(t * E, (t + 1) * E)
  const free = topK(row, E).find((e) => Number.isFinite(row[e]) && !own.has(e) && taken[e] < capacity)
  return free ?? -1
}
