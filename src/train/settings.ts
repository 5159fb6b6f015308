import type { AdamWSettings } from './adamw.ts'
import type { FactsSettings } from './facts.ts'
import type { LossWeights } from './gradients.ts'
import { type PresetName, presetOf, type SizeName } from './presets.ts'

/** All that decides a training: the same settings give the same losses. Stored with every checkpoint. */
export interface TrainSettings {
  preset: PresetName
  size: SizeName
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

/** What the command line may set; all else follows the preset. */
export type ChosenSettings = Pick<TrainSettings, 'preset' | 'steps'> & Partial<TrainSettings>

/** Steps in which the learning rate rises: a tenth of a short training. */
export function warmupSteps(steps: number): number {
  return Math.min(100, Math.ceil(steps / 10))
}

export function trainSettings(chosen: ChosenSettings): TrainSettings {
  const { size = 'full' } = chosen
  const byBias = presetOf({ preset: chosen.preset, size }).balancing === 'bias'
  return {
    size,
    seed: 1,
    corpus: [],
    facts: null,
    rows: 16,
    length: 256,
    warmup: warmupSteps(chosen.steps),
    peakLearningRate: 2e-3,
    learningRateFloor: 0.1,
    adamw: { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 },
    clipNorm: 1,
    lossWeights: { balance: byBias ? 0 : 0.01, z: 0.001 },
    biasRate: byBias ? 0.001 : null,
    validateEvery: 250,
    checkpointEvery: 250,
    ...chosen,
  }
}
