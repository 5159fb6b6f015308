import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { InputError } from '../../src/errors.ts'
import { readEvaluation } from '../../src/eval/read.ts'
import type { EvalReport } from '../../src/eval/types.ts'

/** What the page shows of an evaluation. */
export interface EvalSummary {
  name: string
  /** It has a layer with experts. */
  mixture: boolean
  split: string
  /** Nats a token. */
  loss: number
  flopsPerToken: number
  total: number
  active: number
}

/** What was found of evaluations beside a report. */
export interface Evaluations {
  found: EvalSummary[]
  /** A sentence for each file that is none. */
  problems: string[]
}

/** Evaluations in a folder, `eval-*.json` by name. */
export function evaluationsIn(folder: string): Evaluations {
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

function summaryOf({ model, split, loss, cost }: EvalReport): EvalSummary {
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
