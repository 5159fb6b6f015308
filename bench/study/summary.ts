import { isDeepStrictEqual } from 'node:util'
import type { Domain } from '../../src/corpus/index.ts'
import { mapValues } from '../../src/model/tree.ts'
import { PRESET_NAMES, type PresetName, type SizeName } from '../../src/train/presets.ts'
import { factsSummary } from './facts.ts'
import { type Difference, differenceOf, PAIRS, runsOf } from './pairs.ts'
import { BUDGETS, type Budget, type PlannedRun, SAME_COMPUTE, type StudyOptions } from './plan.ts'
import { spreadOf } from './statistics.ts'
import type { StudyRun } from './train.ts'

const METHOD =
  'A seed gives all presets the same texts in the same order, so differences are taken seed by seed. Losses are of held-out documents, the ones that tinymoe eval takes. Training FLOPs are ' +
  'three times those of the forward.'
const AT_EQUAL_COMPUTE =
  ' Equal compute: as many tokens as cost the FLOPs of the training of moe, on a schedule of that length; presets that cost ' +
  'about as much a token have one run for both comparisons.'

export type StudyReport = ReturnType<typeof studyReport>

export function studyReport(options: StudyOptions, plan: PlannedRun[], runs: StudyRun[]) {
  const cells = BUDGETS.flatMap((budget) => PRESET_NAMES.flatMap((preset) => cellOf(budget, preset, runs)))
  const differences = BUDGETS.flatMap((budget) =>
    PAIRS.flatMap(([preset, than]) => differenceOf(budget, preset, than, runs)),
  )
  const method = METHOD + (cells.some(({ budget }) => budget === 'compute') ? AT_EQUAL_COMPUTE : '')
  return {
    format: 'tinymoe-study' as const,
    version: 1 as const,
    date: new Date().toISOString(),
    /** Trainings of the whole study; fewer `runs` than this: it is not finished. */
    planned: plan.length,
    conditions: { ...options, sameCompute: SAME_COMPUTE, method },
    runs,
    cells,
    differences,
    conclusion: conclude(differences, options.size),
    /** What is kept of the facts; null where no training had any. */
    facts: factsSummary(runs),
  }
}

/** The trainings that a report has of a study with these options, for any number of seeds. */
export function runsIn({ conditions, runs }: StudyReport, options: StudyOptions): StudyRun[] {
  const { seeds: _, pairSeeds: __, ...decisive } = options
  const same = Object.entries(decisive).every(([name, value]) =>
    isDeepStrictEqual(conditions[name as keyof StudyOptions] ?? null, value ?? null),
  )
  return same ? runs : []
}

/** The seeds of one preset under one budget. Empty while no run of it is done. */
function cellOf(budget: Budget, preset: PresetName, runs: StudyRun[]) {
  const own = runsOf(budget, preset, runs)
  return own.slice(0, 1).map((run) => {
    const { tokens, trainingFlops, flopsPerToken, totalParameters, activeParameters } = run
    const meanOf = (domain: Domain) => spreadOf(own.map((one) => one.byDomain[domain]!)).mean
    const byDomain = mapValues(run.byDomain, (_, domain) => meanOf(domain as Domain))
    const spread = spreadOf(own.map(({ loss }) => loss))
    const facts = { tokens, trainingFlops, flopsPerToken, totalParameters, activeParameters }
    return { budget, preset, ...facts, ...spread, byDomain }
  })
}

/** The mixture less the dense model that costs as much a token, at equal tokens, in each domain by itself. */
export function domainDifferences(runs: StudyRun[]): { domain: Domain; difference: Difference }[] {
  const domains = runs.length > 0 ? (Object.keys(runs[0].byDomain) as Domain[]) : []
  return domains.flatMap((domain) =>
    differenceOf('tokens', 'moe', 'dense-active', runs, ({ byDomain }) => byDomain[domain]!).map(
      (difference) => ({ domain, difference }),
    ),
  )
}

const QUESTIONS: [Budget, PresetName, against: string][] = [
  ['tokens', 'dense-active', 'a dense model with as many active parameters at equal tokens'],
  ['tokens', 'dense-total', 'a dense model with as many parameters in all at equal tokens'],
  ['compute', 'dense-total', 'the latter at equal training compute'],
]

/** One sentence on what the mixture gains or loses, whichever way it comes out. */
export function conclude(differences: Difference[], size: SizeName): string {
  const parts = QUESTIONS.flatMap(([budget, than, against]) => {
    const difference = differences.find((d) => d.budget === budget && d.preset === 'moe' && d.than === than)
    return difference ? [`${verdict(difference)} ${against} (${evidence(difference)})`] : []
  })
  if (parts.length === 0) return 'No pair of trainings is finished.'
  return `In the ${size} size the mixture's loss is ${parts.join('; ')}.`
}

/** Lower or higher only where the interval excludes zero. */
function verdict({ mean, low, high }: Difference): string {
  const size = `${Math.abs(mean).toFixed(3)} nats a token ${mean < 0 ? 'below' : 'above'} that of`
  if (low === null || high === null || low > 0 || high < 0) return size
  return 'not told apart from that of'
}

function evidence({ mean, low, high, values }: Difference): string {
  if (low === null || high === null) return 'one seed, which says nothing about others'
  return `${values.length} seeds, mean ${signed(mean)}, 95 % interval ${signed(low)} to ${signed(high)}`
}

export function signed(value: number): string {
  return `${value < 0 ? '-' : '+'}${Math.abs(value).toFixed(3)}`
}
