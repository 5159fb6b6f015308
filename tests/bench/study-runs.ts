import type { PlannedRun } from '../../bench/study/plan.ts'
import type { StudyRun } from '../../bench/study/train.ts'

/** The plan's runs as if they were done, each with the loss given for it. */
export function finishedRuns(
  plan: PlannedRun[],
  loss: (run: PlannedRun) => number,
  facts: (run: PlannedRun) => StudyRun['facts'] = () => null,
): StudyRun[] {
  return plan.map((run) => {
    const { settings, ...rest } = run
    const { preset, size, seed, steps } = settings
    return {
      ...rest,
      preset,
      size,
      seed,
      steps,
      loss: loss(run),
      byDomain: { story: loss(run) },
      facts: facts(run),
      leastUsed: null,
      mostUsed: null,
      seconds: 1,
      devices: ['cpu'],
      commit: null,
    }
  })
}
