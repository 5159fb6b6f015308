import { mean } from 'd3-array'
import { shareOf } from '../../src/eval/proportion.ts'
import { percent } from '../../src/train/card-words.ts'
import { PRESET_NAMES } from '../../src/train/presets.ts'
import { differenceOf, PAIRS, runsOf } from './pairs.ts'
import { meanInterval, spreadOf } from './statistics.ts'
import type { StudyRun } from './train.ts'

type FactsRun = StudyRun & { facts: NonNullable<StudyRun['facts']> }

/** Share of all facts that are recalled in words that no training text has for them. */
function recallOf({ facts }: FactsRun): number {
  return shareOf(facts.recall.right)
}

export type FactsSummary = NonNullable<ReturnType<typeof factsSummary>>

/** Recall and stored bits of each preset, over its seeds, and recall of pairs seed by seed. Null where no run has facts. */
export function factsSummary(runs: StudyRun[]) {
  const own = runs.filter((run): run is FactsRun => (run.facts ?? null) !== null) // reports of before have no such field
  if (own.length === 0) return null
  const [{ facts }] = own
  const cells = PRESET_NAMES.flatMap((preset) => {
    const seeds = runsOf('tokens', preset, own) as FactsRun[]
    if (seeds.length === 0) return []
    const spread = spreadOf(seeds.map(recallOf))
    const meanOf = (value: (run: FactsRun) => number) => mean(seeds, value)!
    return [
      {
        preset,
        ...spread,
        ...meanInterval(spread),
        recitation: meanOf(({ facts }) => shareOf(facts.recitation.right)),
        storedBits: meanOf(({ facts }) => facts.recall.storedBits),
        /** Stored bits: of all parameters, and of those that a token uses. */
        bitsAParameter: meanOf(({ facts }) => facts.recall.bitsAParameter.total),
        bitsAnActiveParameter: meanOf(({ facts }) => facts.recall.bitsAParameter.active),
        /** Mean recall of each kind of fact. */
        byAttribute: Object.fromEntries(
          Object.keys(facts.recall.byAttribute).map((name): [string, number] => [
            name,
            meanOf((run) => shareOf(run.facts.recall.byAttribute[name].right)),
          ]),
        ),
      },
    ]
  })
  const recall = (run: StudyRun) => recallOf(run as FactsRun)
  const differences = PAIRS.flatMap(([preset, than]) => differenceOf('tokens', preset, than, own, recall))
  const { entities, phrasings, possibleBits } = facts
  return { entities, phrasings, possibleBits, cells, differences }
}

/** One sentence on what the mixture keeps, whichever way it comes out. */
export function factsConclusion({ cells, differences }: FactsSummary): string {
  const moe = cells.find(({ preset }) => preset === 'moe')
  const parts = differences
    .filter(({ preset }) => preset === 'moe')
    .map(({ than, mean: points, low, high, values }) => {
      const other = cells.find(({ preset }) => preset === than)!
      const interval =
        low === null || high === null
          ? 'one seed, which says nothing about others'
          : `${values.length} seeds, difference ${inPoints(points)}, 95 % interval ${inPoints(low)} to ${inPoints(high)}`
      return `${than} ${percent(other.mean)} (${interval})`
    })
  if (!moe || parts.length === 0) return 'No pair of trainings is finished.'
  return `In words that no training text has for them the mixture recalls ${percent(moe.mean)} of the facts; ${parts.join('; ')}.`
}

/** A difference of shares, in percentage points. */
export function inPoints(difference: number): string {
  return `${difference < 0 ? '-' : '+'}${Math.abs(100 * difference).toFixed(1)}`
}
