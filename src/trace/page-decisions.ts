import type { RouterStep } from '../model/router/types.ts'
import type { RoutingTrace } from '../model/trace.ts'
import type { Decision } from './decision.ts'
import { chosenBy, OF_EXPERTS, OF_RANKS, rowsOf, verdictOf } from './decision-text.ts'

/** A step's words, which many decisions share. */
interface StepWords {
  name: string
  formula: string
  sentence: string
  applies: boolean
  /** Labels of its rows that are one number an expert, and of those that are one a rank. */
  experts: string[]
  ranks: string[]
}

/** One decision: its steps by the number of their words, with the values of each row, spaces between. */
interface PageDecision {
  steps: [words: number, experts: string[], ranks: string[], chosen: number[]][]
  /** What experts are compared by, one an expert. */
  compared: string
  /** Whether the steps come to what the run recorded, in words. */
  verdict: string
}

/** All decisions of a run for its page: words once, numbers as the terminal shows them. */
export interface PageDecisions {
  words: StepWords[]
  /** [T][L] */
  decisions: PageDecision[][]
}

/** `decisionAt` gives the decision of a mixture layer and a row of the trace, both counted from 0. */
export function pageDecisions(
  { rows, layers }: RoutingTrace,
  decisionAt: (layer: number, t: number) => Decision,
): PageDecisions {
  const words = new Map<string, number>()
  const decisions = rows.map((): PageDecision[] => [])
  // Layer by layer: a call is stepped as a whole, once.
  for (const l of layers.keys()) {
    for (const t of rows.keys()) decisions[t].push(pageDecision(decisionAt(l, t), words))
  }
  return { words: [...words.keys()].map((text) => JSON.parse(text)), decisions }
}

function pageDecision(decision: Decision, words: Map<string, number>): PageDecision {
  const { steps } = decision
  const numbered = steps.map((step, i): PageDecision['steps'][number] => {
    const [experts, ranks] = step.applies ? [rowsOf(step, OF_EXPERTS), rowsOf(step, OF_RANKS)] : [[], []]
    const own = wordsOf(step, labels(experts), labels(ranks))
    const key = JSON.stringify(own)
    if (!words.has(key)) words.set(key, words.size)
    return [words.get(key) as number, valuesOf(experts), valuesOf(ranks), chosenBy(steps, i)]
  })
  const compared = steps.find(({ name }) => name === 'top-k')?.inputs.compared
  const [row] = compared ? rowsOf({ applies: true, inputs: { compared }, outputs: {} }, OF_EXPERTS) : []
  return { steps: numbered, compared: row ? row.values.join(' ') : '', verdict: verdictOf(decision) }
}

function wordsOf(
  { name, formula, sentence, applies }: RouterStep,
  experts: string[],
  ranks: string[],
): StepWords {
  return { name, formula, sentence, applies, experts, ranks }
}

function labels(rows: { label: string }[]): string[] {
  return rows.map(({ label }) => label)
}

function valuesOf(rows: { values: string[] }[]): string[] {
  return rows.map(({ values }) => values.join(' '))
}
