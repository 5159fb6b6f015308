import { type ModelConfig, mixtureAt } from '../model/config.ts'
import { type Interventions, interventionFor } from '../model/router/interventions.ts'
import { type RouterStep, type RouterValue, type Routing, stepsFromLogits } from '../model/router/route.ts'
import type { LayerTrace, RoutingTrace, TraceRow } from '../model/trace.ts'
import type { ModelWeights } from '../model/weights.ts'

/** The router's steps for one token in one layer, every value [E] or [K] of that token alone. */
export interface Decision {
  row: TraceRow
  layer: number
  steps: RouterStep[]
  /** What the run recorded. */
  recorded: { expertIndices: Int32Array; expertWeights: Float32Array; margin: number | null; entropy: number }
  /** Whether the steps come to the recorded decision; a device may round weights in the last digit. */
  agrees: boolean
}

/** Weights that differ by less are the same: float32 softmax on a device against float64 rounded on the host. */
const SAME_WEIGHT = 1e-5

/**
 * Any decision of a run as steps, run again from the recorded logits. `calls` are the traces of the forwards in order:
 * a capacity limit counts the tokens of a call, so a call is stepped as a whole.
 */
export class Decisions {
  private lastCall: { layer: LayerTrace; steps: RouterStep[]; routing: Routing } | null = null

  constructor(
    private readonly model: { config: ModelConfig; weights: ModelWeights },
    private readonly calls: readonly RoutingTrace[],
    private readonly interventions: Interventions | undefined,
  ) {}

  /** Of mixture layer number `layerIndex` (dense ones not counted) and of row `t` of the joined trace. */
  at(layerIndex: number, t: number): Decision {
    const { call, row } = this.callOf(t)
    const layer = call.layers[layerIndex]
    const { steps, routing } = this.stepped(layer, call)
    const K = layer.topK
    const own = <A extends Float32Array | Int32Array>(values: A) => values.slice(row * K, (row + 1) * K) as A
    const recorded = {
      expertIndices: own(layer.expertIndices),
      expertWeights: own(layer.expertWeights),
      margin: layer.margins[row],
      entropy: layer.entropies[row],
    }
    const [experts, weights] = [own(routing.expertIndices), own(routing.expertWeights)]
    const agrees =
      experts.every((e, k) => e === recorded.expertIndices[k]) &&
      weights.every((w, k) => Math.abs(w - recorded.expertWeights[k]) <= SAME_WEIGHT)
    return {
      row: call.rows[row],
      layer: layer.layer,
      steps: steps.map((step) => stepOfRow(step, row)),
      recorded,
      agrees,
    }
  }

  private callOf(t: number): { call: RoutingTrace; row: number } {
    let row = t
    for (const call of this.calls) {
      if (row < call.rows.length) return { call, row }
      row -= call.rows.length
    }
    throw new Error(`the trace has no row ${t}`)
  }

  private stepped(layer: LayerTrace, { rows }: RoutingTrace) {
    if (this.lastCall?.layer === layer) return this.lastCall
    const { router } = mixtureAt(this.model.config, layer.layer)
    const weights = this.model.weights.blocks[layer.layer].feedForward
    if (weights.kind !== 'moe') throw new Error(`layer ${layer.layer} has no router`)
    const steps: RouterStep[] = [logitsStep(layer, weights.router.bias !== null)]
    const generator = stepsFromLogits(layer.routerLogits, router, {
      scoreBias: weights.scoreBias,
      place: { layer: layer.layer, rows },
      intervention: interventionFor(this.interventions ?? {}, router, layer.layer),
    })
    let next = generator.next()
    while (!next.done) {
      steps.push(next.value)
      next = generator.next()
    }
    this.lastCall = { layer, steps, routing: next.value }
    return this.lastCall
  }
}

/** The logits as they were recorded: a trace does not keep the hidden states that they came from. */
function logitsStep({ routerLogits, numExperts: E }: LayerTrace, hasBias: boolean): RouterStep {
  return {
    name: 'logits',
    formula: hasBias ? 'z = x Wr + b' : 'z = x Wr',
    sentence: `The token's hidden state met one vector per expert: ${E} numbers, high where they agree. As recorded.`,
    applies: true,
    inputs: {},
    outputs: { routerLogits: { shape: [routerLogits.length / E, E], data: routerLogits } },
  }
}

function stepOfRow(step: RouterStep, t: number): RouterStep {
  const cut = (values: Record<string, RouterValue>) =>
    Object.fromEntries(
      Object.entries(values).map(([name, { shape, data }]) => [
        name,
        shape.length === 1 // the same for every token
          ? { shape, data }
          : { shape: [shape[1]], data: data.slice(t * shape[1], (t + 1) * shape[1]) },
      ]),
    )
  return { ...step, inputs: cut(step.inputs), outputs: cut(step.outputs) }
}
