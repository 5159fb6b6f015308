import { TinymoeError } from '../errors.ts'
import type { MoeModel } from '../model/transformer.ts'
import type { Moments } from './adamw.ts'
import type { Parameter } from './parameters.ts'
import type { TrainSettings } from './settings.ts'

/** What steps move, as the host has it. */
export interface Trained {
  model: MoeModel
  parameters: Parameter[]
  /** One pair a parameter, in the same order. */
  moments: Moments[]
  settings: TrainSettings
}

/** What a step came to. */
export interface StepNumbers {
  /** Cross-entropy and weighted router losses: what is minimised. */
  loss: number
  /** Nats a token. */
  crossEntropy: number
  /** Means over the mixture layers, unweighted; null in a model without any. */
  balance: number | null
  z: number | null
  /** Of all gradients together, before clipping. */
  gradientNorm: number
  /** Assignments of each expert [E], a row for each mixture layer. */
  load: Int32Array[]
}

/** How the steps of a training are computed. Rows are [B][T + 1]: each token is to be told from those before. */
export interface Steps {
  /**
   * Step `t`, from 1: gradients, clipping, AdamW at that learning rate, balancing.
   * @throws TinymoeError where the loss is no number; nothing has moved then
   */
  step(rows: number[][], t: number, rate: number): StepNumbers
  /** Computes what a step does, but for moving anything. */
  rehearse(rows: number[][]): void
  /** Mean cross-entropy in nats a token. */
  evaluate(rows: number[][]): number
  /** Brings what has moved to where the host has it: values and moments of parameters, and choosing biases. */
  toHost(): void
  dispose(): void
}

export function lossError(t: number, loss: number): TinymoeError {
  return new TinymoeError(`step ${t}: the loss is ${loss}; a lower --learning-rate may keep it finite`)
}
