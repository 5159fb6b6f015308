import type { Training } from '../model/moe.ts'
import { choosingBiases } from '../model/weights.ts'
import { adamwStep, clipByGlobalNorm } from './adamw.ts'
import { evaluate, gradientsOf } from './gradients.ts'
import { updateScoreBias } from './losses.ts'
import { decays, upload } from './parameters.ts'
import { lossError, type StepNumbers, type Steps, type Trained } from './steps.ts'

/** Op by op, AdamW on the host: the definition of a step. */
export class EagerSteps implements Steps {
  constructor(private readonly trained: Trained) {}

  /** `replay`: experts [T, K] of a layer, in the place of those that it would choose. */
  step(rows: number[][], t: number, rate: number, replay?: Training['replay']): StepNumbers {
    const { parameters, moments, settings } = this.trained
    const { gradients, ...numbers } = this.gradients(rows, replay)
    if (!Number.isFinite(numbers.loss)) throw lossError(t, numbers.loss)
    const gradientNorm = clipByGlobalNorm(gradients, settings.clipNorm)
    parameters.forEach((parameter, i) => {
      const weightDecay = decays(parameter) ? settings.adamw.weightDecay : 0
      const adamw = { ...settings.adamw, weightDecay }
      adamwStep(parameter.values, gradients[i], moments[i], t, rate, adamw)
      upload(parameter)
    })
    if (settings.biasRate !== null) this.balance(numbers.load, settings.biasRate)
    return { ...numbers, gradientNorm }
  }

  rehearse(rows: number[][]): void {
    this.gradients(rows)
  }

  evaluate(rows: number[][]): number {
    return evaluate(this.trained.model, rows)
  }

  toHost(): void {} // it is there

  dispose(): void {}

  private gradients(rows: number[][], replay?: Training['replay']) {
    const { model, parameters, settings } = this.trained
    return gradientsOf(model, parameters, rows, settings.lossWeights, replay)
  }

  private balance(load: Int32Array[], rate: number): void {
    choosingBiases(this.trained.model.weights).forEach((bias, i) => {
      if (bias) updateScoreBias(bias, load[i], rate)
    })
  }
}
