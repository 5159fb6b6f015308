import { softmaxTopK } from '../../src/model/config.ts'
import { stepsFromLogits } from '../../src/model/router/route.ts'
import type { RouterStep } from '../../src/model/router/types.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import type { Decision } from '../../src/trace/decision.ts'

/** Decisions of a made-up trace by a plain softmax router on its logits; they need not come to what the trace says. */
export function decisionsOf({ rows, layers }: RoutingTrace): (layer: number, t: number) => Decision {
  return (l, t) => {
    const {
      layer,
      numExperts: E,
      topK: K,
      routerLogits,
      expertIndices,
      expertWeights,
      margins,
      entropies,
    } = layers[l]
    const steps: RouterStep[] = []
    for (const step of stepsFromLogits(routerLogits.slice(t * E, (t + 1) * E), softmaxTopK(E, K)))
      steps.push(oneRow(step))
    const recorded = {
      expertIndices: expertIndices.slice(t * K, (t + 1) * K),
      expertWeights: expertWeights.slice(t * K, (t + 1) * K),
      margin: margins[t],
      entropy: entropies[t],
    }
    return { row: rows[t], layer, steps, recorded, agrees: false }
  }
}

function oneRow(step: RouterStep): RouterStep {
  const cut = (values: RouterStep['inputs']) =>
    Object.fromEntries(
      Object.entries(values).map(([name, { data }]) => [name, { shape: [data.length], data }]),
    )
  return { ...step, inputs: cut(step.inputs), outputs: cut(step.outputs) }
}
