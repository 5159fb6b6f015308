import type { RoutingTrace } from '../model/trace.ts'
import {
  agrees,
  type CallSteps,
  callOf,
  callSteps,
  layerOfCall,
  type SteppedModel,
  stepOfRow,
} from './steps-of.ts'

/** The router's steps for one token in one layer, every value [E] or [K] of that token alone. */
export type Decision = ReturnType<Decisions['at']>

/** Any decision of a run as steps, run again from the recorded logits; those of a call are kept while it is looked at. */
export class Decisions {
  private last: { layer: number; from: number; steps: CallSteps } | null = null

  constructor(
    private readonly model: SteppedModel,
    private readonly trace: RoutingTrace,
  ) {}

  /** Of mixture layer number `layerIndex` (dense ones not counted) and of row `t` of the trace. */
  at(layerIndex: number, t: number) {
    const call = callOf(this.trace, t)
    const layer = layerOfCall(this.trace.layers[layerIndex], call)
    if (this.last?.layer !== layerIndex || this.last.from !== call.from) {
      const steps = callSteps(this.model, layer, call.rows, this.trace.interventions)
      this.last = { layer: layerIndex, from: call.from, steps }
    }
    const { steps, routing } = this.last.steps
    const row = t - call.from
    const K = layer.topK
    return {
      row: call.rows[row],
      layer: layer.layer,
      steps: steps.map((step) => stepOfRow(step, row)),
      /** What the run recorded. */
      recorded: {
        expertIndices: layer.expertIndices.slice(row * K, (row + 1) * K),
        expertWeights: layer.expertWeights.slice(row * K, (row + 1) * K),
        margin: layer.margins[row],
        entropy: layer.entropies[row],
      },
      /** Whether the steps come to the recorded decision; a device may round weights in the last digit. */
      agrees: agrees(layer, routing, row),
    }
  }
}
