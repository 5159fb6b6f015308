import type { EvalReport } from '../../src/eval/types.ts'
import { concludeDomains, domainDifferences, signed } from '../study/summary.ts'
import type { Cell, Difference, StudyReport } from '../study/types.ts'
import type { Quality } from './read.ts'

/** All numbers of the picture, and what they say in a sentence. */
export function qualityMarkdown({ shipped, study }: Quality): string {
  return [
    '# Quality',
    '',
    'Loss in nats a token on held-out texts, mean of the domains; lower is better. Made by `npx tsx bench/quality.ts`.',
    ...(shipped.length > 0 ? ['', ...shippedSection(shipped)] : []),
    ...(study ? ['', ...studySection(study)] : []),
    '',
  ].join('\n')
}

function shippedSection(shipped: Quality['shipped']): string[] {
  const [{ report: first }] = shipped
  const { domains, samples, split, seed } = first
  const rows = shipped.map(({ preset, report: { cost, loss, headline } }) => [
    preset,
    count(cost.parameters.total),
    count(cost.parameters.active),
    count(cost.flopsPerToken),
    loss.mean.toFixed(3),
    ...domains.map((domain) => loss.byDomain[domain]!.toFixed(3)),
    loss.bitsPerCharacter.toFixed(3),
    sums(headline),
  ])
  const head = [
    'model',
    'parameters',
    'active',
    'FLOPs a token',
    'loss',
    ...domains,
    'bits/character',
    '2-digit sums',
  ]
  return [
    '## The shipped models',
    '',
    `One training each, so how much is chance is not known. Split ${split}, ${samples} documents of a domain, seed ${seed}; matrix FLOPs`,
    `of a forward at ${first.cost.flopContext} keys; sums with the working written out, pairs that no training text has.`,
    '',
    ...tableLines(head, rows),
  ]
}

function sums(headline: EvalReport['headline']): string {
  if (!headline || headline.worked.total === 0) return '-'
  return `${headline.worked.correct}/${headline.worked.total}`
}

function studySection({ conditions, cells, differences, conclusion, runs, planned }: StudyReport): string[] {
  const { rows, length, peakLearningRate, method } = conditions
  const state = runs.length < planned ? ` **Not finished: ${runs.length} of ${planned} trainings.**` : ''
  return [
    '## Seeds',
    '',
    `${conclusion}${state}`,
    '',
    `The presets at half the width, ${rows} x ${length} tokens a step, peak learning rate ${peakLearningRate} for all. ${method}`,
    '',
    ...tableLines(CELL_HEAD, cells.map(cellRow)),
    '',
    'Differences, seed by seed (below zero: the first has the lower loss):',
    '',
    ...tableLines(
      ['equal', ...DIFFERENCE_HEAD],
      differences.map((d) => [d.budget, ...differenceRow(d)]),
    ),
    '',
    concludeDomains(runs),
    '',
    ...tableLines(
      ['domain', ...DIFFERENCE_HEAD],
      domainDifferences(runs).map(({ domain, difference }) => [domain, ...differenceRow(difference)]),
    ),
  ]
}

const CELL_HEAD = [
  'equal',
  'preset',
  'parameters',
  'active',
  'FLOPs a token',
  'tokens',
  'training TFLOP',
  'loss',
  'min',
  'max',
  'seeds',
]

function cellRow(cell: Cell): string[] {
  return [
    cell.budget,
    cell.preset,
    ...[cell.totalParameters, cell.activeParameters, cell.flopsPerToken, cell.tokens].map(count),
    (cell.trainingFlops / 1e12).toFixed(2),
    ...[cell.mean, cell.min, cell.max].map((loss) => loss.toFixed(3)),
    String(cell.values.length),
  ]
}

const DIFFERENCE_HEAD = ['difference', 'mean', '95 % interval', 'each seed']

function differenceRow({ preset, than, mean, low, high, values }: Difference): string[] {
  const interval = low === null || high === null ? '-' : `${signed(low)} to ${signed(high)}`
  return [`${preset} less ${than}`, signed(mean), interval, values.map(signed).join(', ')]
}

/** The first column left, the others right. */
function tableLines(head: string[], rows: string[][]): string[] {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)]
}

function count(n: number): string {
  return n.toLocaleString('en')
}
