import type * as tf from '@tensorflow/tfjs-core'
import { mixtureAt } from '../model/config.ts'
import { canSpare } from '../model/router/interventions.ts'
import type { Interventions } from '../model/router/types.ts'
import { tokenLosses } from '../model/token-losses.ts'
import type { RoutingTrace } from '../model/trace.ts'
import type { MoeModel } from '../model/transformer.ts'
import { sum } from '../sums.ts'
import { chosenExperts } from './statistics.ts'

export type Without = ReturnType<typeof withoutEach>

/**
 * How likely `tokens` from `from` on are after those before, with all experts and without each expert of each layer: which of them hold
 * what the answer says. One run an expert.
 */
export function withoutEach(
  model: Pick<MoeModel, 'config' | 'forward'>,
  tokens: number[],
  from: number,
  interventions: Interventions = {},
) {
  const run = (changed: Interventions) => {
    const options = { trace: true, interventions: changed }
    const { logits, trace } = model.forward([tokens.slice(0, -1)], options)
    const losses = tokenLosses(logits as tf.Tensor3D, Int32Array.from(tokens.slice(1)))
    return { probability: Math.exp(-sum(losses.subarray(from - 1))), trace: trace as RoutingTrace }
  }
  const { probability, trace } = run(interventions)
  const layers = trace.layers.map((layer) => {
    const { router } = mixtureAt(model.config, layer.layer)
    const chosen = chosenExperts(layer, from - 1)
    const used = trace.rows.map((_, row) => chosenExperts(layer, row))
    const experts = Array.from({ length: layer.numExperts }, (_, expert) => {
      const disable = [...(interventions.disable ?? []), { expert, layer: layer.layer }]
      return {
        expert,
        /** Tokens that the router sent to it. */
        tokens: used.filter((experts) => experts.includes(expert)).length,
        /** Whether the last token before the answer was one of them. */
        chosen: chosen.includes(expert),
        /** Of the answer without it; null where too few experts are left to choose from. */
        probability: canSpare(expert, router, layer.layer, interventions)
          ? run({ ...interventions, disable }).probability
          : null,
      }
    })
    return { layer: layer.layer, experts }
  })
  return { /** Of the answer with all experts. */ probability, layers }
}
