import { countParameters, expertParameters } from '../cost/parameters.ts'
import { type ModelConfig, mixtureAt } from '../model/config.ts'
import type { RoutingTrace } from '../model/trace.ts'
import { sum } from '../sums.ts'
import { chosenExperts } from './statistics.ts'

export type ParametersUsed = ReturnType<typeof parametersUsed>

/** Which parameters each token of a run used. An expert counts where the token went to it; one dropped does not. */
export function parametersUsed(config: ModelConfig, { rows, layers }: RoutingTrace) {
  const { parts, total } = countParameters(config)
  const { experts: _, ...others } = parts
  const always: Partial<typeof others> = Object.fromEntries(
    Object.entries(others).filter(([, count]) => count > 0),
  )
  const expert = layers.map(({ layer }) =>
    expertParameters(config.hiddenSize, mixtureAt(config, layer).intermediateSize),
  )
  const experts = rows.map((_, t) => layers.map((layer) => chosenExperts(layer, t).toSorted((a, b) => a - b)))
  const active = experts.map(
    (byLayer) => sum(Object.values(others)) + sum(byLayer.map((chosen, l) => chosen.length * expert[l])),
  )
  return {
    total,
    /** Of all tokens alike, by part; parts that the model does not have are left out. Both tables count as a whole. */
    always,
    /** Of one routed expert, an entry a mixture layer. */
    expert,
    /** [T] */
    active,
    /** [T] experts that ran, a list for each mixture layer, lowest first. */
    experts,
  }
}
