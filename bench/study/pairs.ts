import type { PresetName } from '../../src/train/presets.ts'
import type { Budget } from './plan.ts'
import { meanInterval, spreadOf } from './statistics.ts'
import type { StudyRun } from './train.ts'

/** Pairs whose difference is a question: sparse against dense, and the two ways of routing. */
export const PAIRS: [PresetName, PresetName][] = [
  ['moe', 'dense-active'],
  ['moe', 'dense-total'],
  ['deepseek', 'dense-active'],
  ['deepseek', 'moe'],
]

export type Difference = ReturnType<typeof differenceOf>[number]

/** Of one preset under one budget, by seed. */
export function runsOf(budget: Budget, preset: PresetName, runs: StudyRun[]): StudyRun[] {
  return runs
    .filter((run) => run.preset === preset && run.budgets.includes(budget))
    .sort((a, b) => a.seed - b.seed)
}

/** A measure (loss, where none is given) of `preset` less that of `than`, over the seeds that both have. */
export function differenceOf(
  budget: Budget,
  preset: PresetName,
  than: PresetName,
  runs: StudyRun[],
  measureOf = ({ loss }: StudyRun) => loss,
) {
  const others = new Map(runsOf(budget, than, runs).map((run) => [run.seed, measureOf(run)]))
  const own = runsOf(budget, preset, runs).filter(({ seed }) => others.has(seed))
  if (own.length === 0) return []
  const spread = spreadOf(own.map((run) => measureOf(run) - others.get(run.seed)!))
  const seeds = own.map(({ seed }) => seed)
  return [{ budget, preset, than, seeds, ...spread, ...meanInterval(spread) }]
}
