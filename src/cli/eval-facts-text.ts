import { PLACES } from '../eval/fact-experts.ts'
import { type Proportion, shareOf } from '../eval/proportion.ts'
import type { EvalSplit, FactExpertsReport, FactsKnown, FactsReport } from '../eval/types.ts'
import { table } from '../text/columns.ts'
import { percent, thousands } from '../text/units.ts'

/** What the model recalls of all facts, each asked for in the split's words and in those of training. */
export function factsText(report: FactsReport, split: EvalSplit): string {
  const { entities, phrasings, possibleBits, recall, recitation } = report
  const cells = (
    title: string,
    bits: string,
    recalled: FactsKnown['right'],
    recited: FactsKnown['right'],
    stored: number,
  ) => [title, bits, ...rightCells(recalled), percent(shareOf(recited)), thousands(Math.round(stored))]
  const rows = Object.entries(recall.byAttribute).map(([name, { right, bitsAFact, storedBits }]) =>
    cells(name, bitsAFact.toFixed(2), right, recitation.byAttribute[name].right, storedBits),
  )
  const known = ({ storedBits, bitsAParameter }: FactsReport['recall']) =>
    `${thousands(Math.round(storedBits))} of ${thousands(possibleBits)} bits stored, ${bitsAParameter.total.toFixed(3)} a parameter, ${bitsAParameter.active.toFixed(3)} an active one`
  return [
    `Facts: all of ${thousands(entities)} entities, asked for in words (one of ${phrasings}) that no training text (${split}) or that training texts have for them\n`,
    table(
      [
        ['fact', 'bits each', `recalled (${split})`, '95 % interval', 'recited (train)', 'bits stored'],
        ...rows,
        cells('all', '', recall.right, recitation.right, recall.storedBits),
      ],
      [0],
    ).trimEnd(),
    `recalled: ${known(recall)}`,
    `recited:  ${known(recitation)}`,
    '',
  ].join('\n')
}

/** Which experts hold the facts: what is lost without each, and whether it is those that the trace shows. */
export function factExpertsText({ known, asked, layers }: FactExpertsReport): string {
  const title = `Facts without an expert: of ${thousands(known)} that are right (${thousands(asked)} asked), the share that then is wrong\n`
  if (layers.length === 0) return `${title}\nNo fact is right, or too few experts are left to choose from.\n`
  const rows = layers.map(({ layer, places, lost }) => [
    String(layer),
    ...PLACES.flatMap((place) => [
      percent(shareOf(places[place].chosen)),
      percent(shareOf(places[place].others)),
    ]),
    lost.map((one, expert) => `${expert}: ${percent(shareOf(one))}`).join('  '),
  ])
  const headings = PLACES.flatMap((place) => [`chosen at ${place}`, 'any other'])
  return `${title}\n${table([['layer', ...headings, 'each expert'], ...rows], [headings.length + 1])}`
}

function rightCells(right: Proportion): string[] {
  return [percent(shareOf(right)), `${percent(right.low)} .. ${percent(right.high)}`]
}
