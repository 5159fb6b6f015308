import type { ByDomain } from '../../src/eval/types.ts'
import type { PresetName, SizeName } from '../../src/train/presets.ts'
import type { Budget, StudyOptions } from './plan.ts'

/** A finished training, as its process wrote it. */
export interface StudyRun {
  id: string
  budgets: Budget[]
  preset: PresetName
  size: SizeName
  seed: number
  steps: number
  tokens: number
  /** Forward, one token, every key of a row in sight. */
  flopsPerToken: number
  /** Forward and backward of the whole training. */
  trainingFlops: number
  totalParameters: number
  activeParameters: number
  /** Nats a token on held-out documents, mean of the domains: what `tinymoe eval` prints. */
  loss: number
  byDomain: ByDomain<number>
  /** Share of the assignments of the least and the most used expert of any layer at the end; null for a dense model. */
  leastUsed: number | null
  mostUsed: number | null
  /** Of the steps alone; a run that went on after an interruption counts all its steps. */
  seconds: number
  /** Where, with threads; several where a run went on elsewhere. */
  devices: string[]
  commit: string | null
}

/** The seeds of one preset under one budget. */
export interface Cell extends Spread {
  budget: Budget
  preset: PresetName
  tokens: number
  trainingFlops: number
  flopsPerToken: number
  totalParameters: number
  activeParameters: number
  byDomain: ByDomain<number>
}

export interface Spread {
  /** One a seed, in the order of the seeds. */
  values: number[]
  mean: number
  min: number
  max: number
  /** Of a single seed, with n - 1; null for one seed. */
  standardDeviation: number | null
}

/** Loss of `preset` less that of `than`, seed by seed: below zero, `preset` is better. */
export interface Difference extends Spread {
  budget: Budget
  preset: PresetName
  than: PresetName
  seeds: number[]
  /** 95 % interval of the mean by Student's t over the seeds; null for one seed. */
  low: number | null
  high: number | null
}

export interface StudyReport {
  format: 'tinymoe-study'
  version: 1
  date: string
  /** Trainings of the whole study; fewer `runs` than this: it is not finished. */
  planned: number
  conditions: StudyOptions & { size: SizeName; sameCompute: number; method: string }
  runs: StudyRun[]
  cells: Cell[]
  differences: Difference[]
  conclusion: string
}
