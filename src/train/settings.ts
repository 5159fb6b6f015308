import { hasChoosingBias } from '../model/config.ts'
import type { Executor } from '../model/ways.ts'
import type { AdamWSettings } from './adamw.ts'
import type { FactsSettings } from './facts.ts'
import type { LossWeights } from './gradients.ts'
import { configOf, type Start } from './start.ts'

/** All that decides a training: the same settings give the same losses. Stored with every checkpoint. */
export interface TrainSettings extends Start {
  /** Steps as one graph, or op by op; their last bits differ. */
  executor: Executor
  /** Of the weights at the start and of the order of the texts. */
  seed: number
  /** Files or directories of texts; none: the project's own corpus. */
  corpus: string[]
  /** Facts that the project's own corpus has beside its other domains; null: none. */
  facts: FactsSettings | null
  steps: number
  /** B and T: sequences of a step, and tokens of each. */
  rows: number
  length: number
  warmup: number
  peakLearningRate: number
  /** Last learning rate as a share of the peak. */
  learningRateFloor: number
  adamw: AdamWSettings
  clipNorm: number
  lossWeights: LossWeights
  /** Step of the choosing bias where balance comes from it, else null. */
  biasRate: number | null
  /** Steps between two validations and between two checkpoints. */
  validateEvery: number
  checkpointEvery: number
}

/** What the command line may set, `preset` or `from` among it; all else follows from that. */
export type ChosenSettings = Pick<TrainSettings, 'steps'> & Partial<TrainSettings>

/** Steps in which the learning rate rises: a tenth of a short training. */
export function warmupSteps(steps: number): number {
  return Math.min(100, Math.ceil(steps / 10))
}

/** What settings are where nobody chooses. */
export const USUAL = {
  preset: null,
  size: 'full',
  from: null,
  executor: 'recorded',
  seed: 1,
  corpus: [],
  facts: null,
  rows: 16,
  length: 256,
  peakLearningRate: 2e-3,
  learningRateFloor: 0.1,
  adamw: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
  clipNorm: 1,
  validateEvery: 250,
  checkpointEvery: 250,
} as const

export function trainSettings(chosen: ChosenSettings): TrainSettings {
  const byBias = hasChoosingBias(configOf({ ...USUAL, ...chosen }))
  return {
    ...USUAL,
    corpus: [],
    warmup: warmupSteps(chosen.steps),
    lossWeights: { balance: byBias ? 0 : 0.01, z: 0.001 },
    biasRate: byBias ? 0.001 : null,
    ...chosen,
  }
}
