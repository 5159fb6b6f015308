import type { RoutingTrace } from '../model/trace.ts'
import type { Decision } from './decision.ts'
import { chosenBy, OF_EXPERTS, OF_RANKS, rowsOf, verdictOf } from './decision-text.ts'

/**
 * All decisions [T][L] of a run for its page: words once, numbers as the terminal shows them. `decisionAt` gives the decision of a
 * mixture layer and a row of the trace, both counted from 0.
 */
export function pageDecisions(
  { rows, layers }: RoutingTrace,
  decisionAt: (layer: number, t: number) => Decision,
) {
  const words = new Map<string, number>()
  const decisions = rows.map((): ReturnType<typeof pageDecision>[] => [])
  // Layer by layer: a call is stepped as a whole, once.
  for (const l of layers.keys()) {
    for (const t of rows.keys()) decisions[t].push(pageDecision(decisionAt(l, t), words))
  }
  return { words: [...words.keys()].map((text) => JSON.parse(text)), decisions }
}

/** One decision: its steps, each with the number of its words and the values of its rows, spaces between. */
function pageDecision(decision: Decision, words: Map<string, number>) {
  const { steps } = decision
  const numbered = steps.map(({ name, formula, sentence, applies, ...step }, i) => {
    const all = { applies, ...step }
    const [experts, ranks] = applies ? [rowsOf(all, OF_EXPERTS), rowsOf(all, OF_RANKS)] : [[], []]
    const [expertLabels, rankLabels] = [experts, ranks].map((rows) => rows.map(({ label }) => label))
    const key = JSON.stringify({ name, formula, sentence, applies, experts: expertLabels, ranks: rankLabels })
    if (!words.has(key)) words.set(key, words.size)
    return [words.get(key) as number, valuesOf(experts), valuesOf(ranks), chosenBy(steps, i)] as const
  })
  const compared = steps.find(({ name }) => name === 'top-k')?.inputs.compared
  const [row] = compared ? rowsOf({ applies: true, inputs: { compared }, outputs: {} }, OF_EXPERTS) : []
  return {
    steps: numbered,
    /** What experts are compared by, one an expert. */
    compared: row ? row.values.join(' ') : '',
    /** Whether the steps come to what the run recorded, in words. */
    verdict: verdictOf(decision),
  }
}

function valuesOf(rows: { values: string[] }[]): string[] {
  return rows.map(({ values }) => values.join(' '))
}
