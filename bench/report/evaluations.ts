import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { InputError } from '../../src/errors.ts'
import { readEvaluation } from '../../src/eval/read.ts'
import type { EvalReport } from '../../src/eval/types.ts'

export type Evaluations = ReturnType<typeof evaluationsIn>
export type EvalSummary = ReturnType<typeof summaryOf>

/** Evaluations in a folder, `eval-*.json` by name, and a sentence for each file that is none. */
export function evaluationsIn(folder: string) {
  const found: EvalSummary[] = []
  const problems: string[] = []
  const files = readdirSync(folder).filter((name) => /^eval-.*\.json$/.test(name))
  for (const file of files.sort()) {
    try {
      found.push(summaryOf(readEvaluation(join(folder, file), file)))
    } catch (error) {
      if (!(error instanceof InputError)) throw error
      problems.push(error.message)
    }
  }
  return { found, problems }
}

/** What the page shows of an evaluation; a mixture has a layer with experts. */
function summaryOf({ model, split, loss, cost }: EvalReport) {
  const { total, active } = cost.parameters
  return {
    name: model.name,
    mixture: model.mixtures.some((layer) => layer !== null),
    split,
    loss: loss.mean,
    flopsPerToken: cost.flopsPerToken,
    total,
    active,
  }
}
