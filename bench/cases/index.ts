import type { Plan } from '../plan.ts'
import type { PlannedCase, VariantChoice } from './case.ts'
import { plannedLayer } from './layer.ts'
import type { MeasuredModel } from './measured-model.ts'
import { plannedModel } from './model.ts'
import type { BenchText } from './model-text.ts'
import type { Layers } from './random-layer.ts'

/** What the cases of a plan are made of. */
export interface Made extends VariantChoice {
  model: MeasuredModel
  text: BenchText
  layers: Layers
  seed: number
}

/** Every case of the plan, of every kind that the bench measures: a new kind is planned in ../plan.ts and listed here. */
export function plannedCases(plan: Plan, made: Made): PlannedCase[] {
  return [
    ...plan.models.map((planned) => plannedModel(planned, { ...made, ...plan })),
    ...plan.layers.map((planned) => plannedLayer(planned, made)),
  ]
}
