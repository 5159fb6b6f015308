import type { EvalReport } from '../../src/eval/types.ts'
import { markdownTable } from '../../src/text/columns.ts'
import { percent } from '../../src/train/card-words.ts'
import { type Column, cellsOf, tableOf } from '../report/section.ts'
import { type FactsSummary, factsConclusion, inPoints } from '../study/facts.ts'
import type { Difference } from '../study/pairs.ts'
import { domainDifferences, type StudyReport, signed } from '../study/summary.ts'
import type { Quality } from './read.ts'

/** All numbers of the picture, and what they say in a sentence. */
export function qualityMarkdown({ shipped, study, factsStudy }: Quality): string {
  const paragraphs = [
    '# Quality',
    'Loss in nats a token on held-out texts, mean of the domains; lower is better. Made by `npx tsx bench/quality.ts`.',
    ...(shipped.length > 0 ? shippedSection(shipped) : []),
    ...(study ? studySection(study, 'Seeds') : []),
    ...(factsStudy ? factsSection(factsStudy) : []),
  ]
  return `${paragraphs.join('\n\n')}\n`
}

function shippedSection(shipped: Quality['shipped']): string[] {
  const [{ report: first }] = shipped
  const { domains, samples, split, seed } = first
  const table = tableOf(shipped, [
    ['model', ({ preset }) => preset],
    ['parameters', ({ report }) => count(report.cost.parameters.total)],
    ['active', ({ report }) => count(report.cost.parameters.active)],
    ['FLOPs a token', ({ report }) => count(report.cost.flopsPerToken)],
    ['loss', ({ report }) => report.loss.mean.toFixed(3)],
    ...domains.map((domain): Column<Quality['shipped'][number]> => {
      return [domain, ({ report }) => report.loss.byDomain[domain]!.toFixed(3)]
    }),
    ['bits/character', ({ report }) => report.loss.bitsPerCharacter.toFixed(3)],
    ['2-digit sums', ({ report }) => sums(report.headline)],
  ])
  return [
    '## The shipped models',
    `One training each, so how much is chance is not known. Split ${split}, ${samples} documents of a domain, seed ${seed}; matrix FLOPs of a forward at ${first.cost.flopContext} keys; sums with the working written out, pairs that no training text has.`,
    markdownTable(cellsOf(table)),
  ]
}

function sums(headline: EvalReport['headline']): string {
  if (!headline || headline.worked.total === 0) return '-'
  return `${headline.worked.correct}/${headline.worked.total}`
}

/** What the trainings cost and came to, and how they differ seed by seed. */
export function studyTables({ cells, differences }: Pick<StudyReport, 'cells' | 'differences'>) {
  const losses = tableOf(cells, [
    ['equal', ({ budget }) => budget],
    ['preset', ({ preset }) => preset],
    ['parameters', ({ totalParameters }) => count(totalParameters)],
    ['active', ({ activeParameters }) => count(activeParameters)],
    ['FLOPs a token', ({ flopsPerToken }) => count(flopsPerToken)],
    ['tokens', ({ tokens }) => count(tokens)],
    ['training TFLOP', ({ trainingFlops }) => (trainingFlops / 1e12).toFixed(2)],
    ['loss', ({ mean }) => mean.toFixed(3)],
    ['min', ({ min }) => min.toFixed(3)],
    ['max', ({ max }) => max.toFixed(3)],
    ['seeds', ({ values }) => String(values.length)],
  ])
  return { losses, pairs: tableOf(differences, [['equal', ({ budget }) => budget], ...DIFFERENCE_COLUMNS]) }
}

const DIFFERENCE_COLUMNS: Column<Difference>[] = [
  ['difference', ({ preset, than }) => `${preset} less ${than}`],
  ['mean', ({ mean }) => signed(mean)],
  [
    '95 % interval',
    ({ low, high }) => (low === null || high === null ? '-' : `${signed(low)} to ${signed(high)}`),
  ],
  ['each seed', ({ values }) => values.map(signed).join(', ')],
]

function studySection(study: StudyReport, title: string): string[] {
  const { conditions, conclusion, runs, planned } = study
  const { rows, length, peakLearningRate, size, method } = conditions
  const state = runs.length < planned ? ` **Not finished: ${runs.length} of ${planned} trainings.**` : ''
  const { losses, pairs } = studyTables(study)
  const domains = domainDifferences(runs).map(({ domain, difference }) => ({ ...difference, domain }))
  return [
    `## ${title}`,
    `${conclusion}${state}`,
    `The presets in the ${size} size, ${rows} x ${length} tokens a step, peak learning rate ${peakLearningRate} for all. ${method}`,
    markdownTable(cellsOf(losses)),
    'Differences, seed by seed (below zero: the first has the lower loss):',
    markdownTable(cellsOf(pairs)),
    'Domain by domain, at equal tokens:',
    markdownTable(cellsOf(tableOf(domains, [['domain', ({ domain }) => domain], ...DIFFERENCE_COLUMNS]))),
  ]
}

/** Recall and bits of each preset, how they differ seed by seed, and recall of each kind of fact. */
export function factsTables({ cells, differences, possibleBits }: FactsSummary) {
  const kept = tableOf(cells, [
    ['preset', ({ preset }) => preset],
    ['recall', ({ mean }) => percent(mean)],
    [
      '95 % interval',
      ({ low, high }) =>
        low === null || high === null ? '-' : `${percent(Math.max(0, low))} to ${percent(Math.min(1, high))}`,
    ],
    ['min', ({ min }) => percent(min)],
    ['max', ({ max }) => percent(max)],
    ["in training's words", ({ recitation }) => percent(recitation)],
    [`bits stored of ${count(possibleBits)}`, ({ storedBits }) => count(Math.round(storedBits))],
    ['a parameter', ({ bitsAParameter }) => bitsAParameter.toFixed(3)],
    ['an active one', ({ bitsAnActiveParameter }) => bitsAnActiveParameter.toFixed(3)],
    ['seeds', ({ values }) => String(values.length)],
  ])
  const pairs = tableOf(differences, [
    ['difference', ({ preset, than }) => `${preset} less ${than}`],
    ['points', ({ mean }) => inPoints(mean)],
    [
      '95 % interval',
      ({ low, high }) => (low === null || high === null ? '-' : `${inPoints(low)} to ${inPoints(high)}`),
    ],
    ['each seed', ({ values }) => values.map(inPoints).join(', ')],
  ])
  const byAttribute = tableOf(Object.keys(cells[0].byAttribute), [
    ['fact', (name) => name],
    ...cells.map((cell): Column<string> => [cell.preset, (name) => percent(cell.byAttribute[name])]),
  ])
  return { kept, pairs, byAttribute }
}

function factsSection(study: StudyReport): string[] {
  const { facts } = study
  if (!facts) return []
  const { kept, pairs, byAttribute } = factsTables(facts)
  return [
    '## Facts',
    `${factsConclusion(facts)} Facts of ${count(facts.entities)} entities, each asked for in words (one of ${facts.phrasings}) that no training text has for it; bits by the bound of Allen-Zhu and Li (arXiv 2404.05405).`,
    markdownTable(cellsOf(kept)),
    'Recall, seed by seed, in percentage points (above zero: the first recalls more):',
    markdownTable(cellsOf(pairs)),
    markdownTable(cellsOf(byAttribute)),
    ...studySection(study, 'Losses of the study of facts'),
  ]
}

function count(n: number): string {
  return n.toLocaleString('en')
}
