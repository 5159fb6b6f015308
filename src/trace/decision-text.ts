import type { RouterStep } from '../model/router/types.ts'
import { wrapped } from '../text/columns.ts'
import { quoted } from '../text/foreign.ts'
import { bold, type ColourDepth, dim, painted } from './ansi.ts'
import type { Decision } from './decision.ts'

export interface TextOptions {
  /** Columns of the terminal. */
  width: number
  depth: ColourDepth
}

/** What values are called in the formulas; these are one number an expert, all others one a rank. */
export const OF_EXPERTS: Record<string, string> = {
  routerLogits: 'z',
  scores: 's',
  compared: 'c',
  choosingBias: 'bias',
}
export const OF_RANKS: Record<string, string> = { expertIndices: 'expert', expertWeights: 'w' }

// Eight experts fit in 80 columns.
const LABEL_WIDTH = 13
const CELL_WIDTH = 8
const HEADING_WIDTH = 20

/** Where a decision was taken, in words. */
export function decisionTitle({ row, layer }: Decision, text: string | null): string {
  const { sequence, position, token } = row
  const shown = text === null ? '' : ` ${quoted(text)}`
  return `layer ${layer}, token ${position} of sequence ${sequence}: ${token}${shown}`
}

/** One decision in full: every step, and how what was recorded compares. */
export function decisionLines(decision: Decision, text: string | null, options: TextOptions): string[] {
  return [
    bold(decisionTitle(decision, text), options.depth),
    ...decision.steps.flatMap((step, i) => ['', ...stepLines(decision, step, i, options)]),
    '',
    ...recordedLines(decision, options),
  ]
}

/** A step with its formula, its sentence and its numbers. */
export function stepLines(
  { steps }: Decision,
  step: RouterStep,
  number: number,
  options: TextOptions,
): string[] {
  const { width, depth } = options
  const heading = bold(`${number + 1}  ${step.name}`.padEnd(HEADING_WIDTH), depth)
  const formula = wrapped(step.applies ? step.formula : 'does not apply', width - HEADING_WIDTH)
  const title = formula.map((line, i) => (i === 0 ? heading : ' '.repeat(HEADING_WIDTH)) + line)
  const chosen = new Set(chosenBy(steps, number))
  const table = [
    ...tableLines('expert', rowsOf(step, OF_EXPERTS), options, (e) => ({
      text: chosen.has(e) ? `${e}*` : ` ${e} `.trimStart(),
      expert: e,
    })),
    ...tableLines('rank', rowsOf(step, OF_RANKS), options, (rank) => ({ text: String(rank), expert: null })),
  ]
  return [...title, ...wrapped(step.sentence, width - 3).map((line) => `   ${line}`), ...table]
}

/** The experts chosen when a step is done; none before the choice. */
export function chosenBy(steps: readonly RouterStep[], number: number): number[] {
  const last = steps.slice(0, number + 1).findLast(({ outputs }) => outputs.expertIndices)
  return last ? [...last.outputs.expertIndices.data] : []
}

/** What the run recorded, and whether the steps come to the same. */
export function recordedLines(decision: Decision, { width, depth }: TextOptions): string[] {
  const { expertIndices, expertWeights, margin, entropy } = decision.recorded
  const choices = Array.from(expertIndices, (e, k) =>
    e < 0 ? 'dropped' : `expert ${painted(String(e), e, depth)} (${expertWeights[k].toFixed(4)})`,
  )
  const measures = [
    `margin ${margin === null ? '-' : margin.toFixed(4)}`,
    `entropy ${entropy.toFixed(4)} nats`,
  ].join(', ')
  const lines = wrapped(`recorded: ${choices.join(', ')}; ${measures}`, width)
  return [...lines, ...wrapped(verdictOf(decision), width).map((line) => dim(line, depth))]
}

/** Whether the steps come to what was recorded, in words. */
export function verdictOf({ agrees }: Pick<Decision, 'agrees'>): string {
  return agrees
    ? 'The steps come to the recorded decision; * marks the chosen, once chosen.'
    : 'The steps come to another decision than the device: scores differ by less than float32 tells apart.'
}

export interface ValueRow {
  label: string
  values: string[]
}

/** The values of a step that are one number an expert (or one a rank), those it reads before those it writes. */
export function rowsOf(
  { applies, inputs, outputs }: Pick<RouterStep, 'applies' | 'inputs' | 'outputs'>,
  names: Record<string, string>,
): ValueRow[] {
  const row = (name: string, data: ArrayLike<number>, mark: string) => ({
    label: names[name] + mark,
    values: Array.from(data, (value) =>
      name !== 'expertIndices' ? valueText(value) : value < 0 ? 'dropped' : String(value),
    ),
  })
  if (!applies)
    return Object.entries(outputs).flatMap(([name, { data }]) => (name in names ? row(name, data, '') : []))
  const before = Object.entries(inputs).map(([name, { data }]) =>
    name in names ? [row(name, data, name in outputs ? ' before' : '')] : [],
  )
  const after = Object.entries(outputs).map(([name, { data }]) =>
    name in names ? [row(name, data, name in inputs ? ' after' : '')] : [],
  )
  return [...before, ...after].flat()
}

/** Rows of values under a heading, in as many bands as the width needs. */
function tableLines(
  label: string,
  rows: ValueRow[],
  { width, depth }: TextOptions,
  heading: (column: number) => { text: string; expert: number | null },
): string[] {
  if (rows.length === 0) return []
  const columns = rows[0].values.length
  const perBand = Math.max(1, Math.floor((width - 3 - LABEL_WIDTH) / CELL_WIDTH))
  return Array.from({ length: Math.ceil(columns / perBand) }, (_, band) => {
    const range = Array.from({ length: columns }, (_, c) => c).slice(band * perBand, (band + 1) * perBand)
    const heads = range.map((c) => {
      const { text, expert } = heading(c)
      const cell = text.padStart(CELL_WIDTH)
      return expert === null ? dim(cell, depth) : painted(cell, expert, depth)
    })
    return [
      `   ${dim(label.padEnd(LABEL_WIDTH), depth)}${heads.join('')}`,
      ...rows.map(
        (row) =>
          `   ${row.label.padEnd(LABEL_WIDTH)}${range.map((c) => row.values[c].padStart(CELL_WIDTH)).join('')}`,
      ),
    ]
  }).flat()
}

function valueText(value: number): string {
  if (value === Number.NEGATIVE_INFINITY) return '-inf'
  const fixed = value.toFixed(4)
  return fixed.length < CELL_WIDTH ? fixed : value.toPrecision(3)
}
