import type { Domain } from '../../src/train/corpus/index.ts'
import { PRESET_NAMES, type PresetName } from '../../src/train/presets.ts'
import { BUDGETS, type Budget, type PlannedRun, SAME_COMPUTE, type StudyOptions } from './plan.ts'
import { meanInterval, spreadOf } from './statistics.ts'
import type { Cell, Difference, StudyReport, StudyRun } from './types.ts'

/** Pairs whose difference is a question: sparse against dense, and the two ways of routing. */
const PAIRS: [PresetName, PresetName][] = [
  ['moe', 'dense-active'],
  ['moe', 'dense-total'],
  ['deepseek', 'dense-active'],
  ['deepseek', 'moe'],
]

const METHOD =
  'A seed gives all presets the same texts in the same order, so differences are taken seed by seed. Losses are of held-out documents, the ones that tinymoe eval takes. Training FLOPs are ' +
  'three times those of the forward. Equal compute: as many tokens as cost the FLOPs of the training of moe, on a ' +
  'schedule of that length; presets that cost about as much a token have one run for both comparisons.'

export function studyReport(options: StudyOptions, plan: PlannedRun[], runs: StudyRun[]): StudyReport {
  const cells = BUDGETS.flatMap((budget) => PRESET_NAMES.flatMap((preset) => cellOf(budget, preset, runs)))
  const differences = BUDGETS.flatMap((budget) =>
    PAIRS.flatMap(([preset, than]) => differenceOf(budget, preset, than, runs)),
  )
  return {
    format: 'tinymoe-study',
    version: 1,
    date: new Date().toISOString(),
    planned: plan.length,
    conditions: { ...options, size: 'small', sameCompute: SAME_COMPUTE, method: METHOD },
    runs,
    cells,
    differences,
    conclusion: conclude(differences),
  }
}

function runsOf(budget: Budget, preset: PresetName, runs: StudyRun[]): StudyRun[] {
  return runs
    .filter((run) => run.preset === preset && run.budgets.includes(budget))
    .sort((a, b) => a.seed - b.seed)
}

/** Empty while no run of it is done. */
function cellOf(budget: Budget, preset: PresetName, runs: StudyRun[]): Cell[] {
  const own = runsOf(budget, preset, runs)
  if (own.length === 0) return []
  const { tokens, trainingFlops, flopsPerToken, totalParameters, activeParameters } = own[0]
  const domains = Object.keys(own[0].byDomain) as Domain[]
  return [
    {
      budget,
      preset,
      tokens,
      trainingFlops,
      flopsPerToken,
      totalParameters,
      activeParameters,
      ...spreadOf(own.map(({ loss }) => loss)),
      byDomain: Object.fromEntries(
        domains.map((domain) => [domain, spreadOf(own.map(({ byDomain }) => byDomain[domain]!)).mean]),
      ),
    },
  ]
}

/** Over the seeds that both have. */
function differenceOf(budget: Budget, preset: PresetName, than: PresetName, runs: StudyRun[]): Difference[] {
  const others = new Map(runsOf(budget, than, runs).map((run) => [run.seed, run.loss]))
  const own = runsOf(budget, preset, runs).filter(({ seed }) => others.has(seed))
  if (own.length === 0) return []
  const spread = spreadOf(own.map(({ seed, loss }) => loss - others.get(seed)!))
  const seeds = own.map(({ seed }) => seed)
  return [{ budget, preset, than, seeds, ...spread, ...meanInterval(spread) }]
}

/** A sentence for each question, whichever way it comes out. */
function conclude(differences: Difference[]): string {
  const find = (budget: Budget, than: PresetName) =>
    differences.find((d) => d.budget === budget && d.preset === 'moe' && d.than === than)
  const questions: [Difference | undefined, string][] = [
    [
      find('tokens', 'dense-active'),
      'a dense model of as many active parameters, equal tokens (and so equal compute)',
    ],
    [find('tokens', 'dense-total'), 'a dense model of as many parameters in all, equal tokens'],
    [find('compute', 'dense-total'), 'that model at equal training compute'],
  ]
  const sentences = questions.flatMap(([difference, against]) =>
    difference ? [`Against ${against}: ${verdict(difference)}.`] : [],
  )
  return sentences.length > 0 ? sentences.join(' ') : 'No pair of trainings is finished.'
}

/** Better or worse only where every seed agrees and the interval excludes zero. */
export function verdict({ mean, low, high, values }: Difference): string {
  const size = `${Math.abs(mean).toFixed(3)} nats a token ${mean < 0 ? 'lower' : 'higher'} loss`
  const seeds = `${values.length} ${values.length === 1 ? 'seed' : 'seeds'}`
  if (low === null || high === null)
    return `the mixture has ${size} in the one seed, which says nothing about others`
  const interval = `95 % interval ${signed(low)} to ${signed(high)}, ${seeds}`
  if (low > 0 || high < 0) return `the mixture has ${size} (${interval})`
  return `no difference that ${seeds} can tell: the mixture has ${size} on average (${interval})`
}

export function signed(value: number): string {
  return `${value < 0 ? '-' : '+'}${Math.abs(value).toFixed(3)}`
}
