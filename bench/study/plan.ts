import { countParameters, flopsPerToken, totalFlops } from '../../src/cost/index.ts'
import type { FactsSettings } from '../../src/train/facts.ts'
import { PRESET_NAMES, type PresetName, presetOf, type SizeName } from '../../src/train/presets.ts'
import { type TrainSettings, trainSettings } from '../../src/train/settings.ts'

export const BUDGETS = ['tokens', 'compute'] as const
/** What is the same for all presets: the tokens they train on, or the FLOPs that `moe` trains with. */
export type Budget = (typeof BUDGETS)[number]

export interface StudyOptions {
  /** How many; they are 1, 2, 3 and so on. */
  seeds: number
  /** How many the pair that the study is about has, where that is more. */
  pairSeeds?: number
  /** Of a training of `moe`, and of every preset at equal tokens; rounded to whole steps. */
  tokens: number
  /** B and T of a step. */
  rows: number
  length: number
  peakLearningRate: number
  size: SizeName
  /** What is studied is then how much of them is kept, at equal tokens alone. */
  facts?: FactsSettings | null
}

/** A training of the study. */
export interface PlannedRun {
  /** Names its folder. */
  id: string
  /** Comparisons it is part of. */
  budgets: Budget[]
  settings: TrainSettings & { preset: PresetName }
  tokens: number
  /** Forward, one token with `length` keys. */
  flopsPerToken: number
  /** Forward and backward of the whole training. */
  trainingFlops: number
  totalParameters: number
  activeParameters: number
}

/** Presets whose cost is this near to that of `moe` train on as many tokens in both comparisons: one run serves both. */
export const SAME_COMPUTE = 0.01
/** Backward costs two forwards: gradients of inputs and of weights. */
const FORWARD_AND_BACKWARD = 3
const CHECKPOINT_EVERY = 100

/** Sparse and dense at the same cost: the question of the study, and cheap enough for more seeds than the rest. */
const PAIR: readonly PresetName[] = ['moe', 'dense-active']
const OTHERS = PRESET_NAMES.filter((name) => !PAIR.includes(name))

/** All trainings, the pair's first, seed by seed, so that a study cut short answers its question. */
export function planStudy(options: StudyOptions): PlannedRun[] {
  const { seeds, pairSeeds = seeds } = options
  const of = (presets: readonly PresetName[], seeds: number) =>
    Array.from({ length: seeds }, (_, i) => i + 1).flatMap((seed) =>
      presets.flatMap((preset) => runsOf(preset, seed, options)),
    )
  return [...of(PAIR, Math.max(seeds, pairSeeds)), ...of(OTHERS, seeds)]
}

function runsOf(preset: PresetName, seed: number, options: StudyOptions): PlannedRun[] {
  const steps = Math.max(1, Math.round(options.tokens / (options.rows * options.length)))
  if (options.facts) return [plannedRun(preset, seed, steps, ['tokens'], options)]
  const share = forwardFlops('moe', options) / forwardFlops(preset, options)
  if (Math.abs(share - 1) <= SAME_COMPUTE)
    return [plannedRun(preset, seed, steps, ['tokens', 'compute'], options)]
  return [
    plannedRun(preset, seed, steps, ['tokens'], options),
    plannedRun(preset, seed, Math.max(1, Math.round(steps * share)), ['compute'], options),
  ]
}

function plannedRun(
  preset: PresetName,
  seed: number,
  steps: number,
  budgets: Budget[],
  options: StudyOptions,
): PlannedRun {
  const { rows, length, peakLearningRate, size, facts = null } = options
  const chosen = trainSettings({
    preset,
    size,
    steps,
    seed,
    rows,
    length,
    peakLearningRate,
    facts,
    validateEvery: steps,
    checkpointEvery: CHECKPOINT_EVERY,
  })
  const settings = { ...chosen, preset }
  const { total, active } = countParameters(presetOf(settings).config)
  const flops = forwardFlops(preset, options)
  const tokens = steps * rows * length
  return {
    id: `${preset}-seed${seed}-steps${steps}`,
    budgets,
    settings,
    tokens,
    flopsPerToken: flops,
    trainingFlops: FORWARD_AND_BACKWARD * flops * tokens,
    totalParameters: total,
    activeParameters: active,
  }
}

/** Every query meets all keys of its row: training masks the later ones, it does not skip them. */
function forwardFlops(preset: PresetName, { length, size }: StudyOptions): number {
  return totalFlops(flopsPerToken(presetOf({ preset, size }).config, length, 'sparse'))
}
