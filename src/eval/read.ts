import { z } from 'zod'
import { InputError } from '../errors.ts'
import { readJson } from '../files.ts'
import type { EvalReport } from './types.ts'

/** What tells an evaluation from another file: the numbers that every reader takes from it. */
const evalSchema = z.object({
  model: z.object({ name: z.string(), mixtures: z.array(z.unknown()) }),
  split: z.string(),
  loss: z.object({ mean: z.number() }),
  cost: z.object({
    parameters: z.object({ total: z.number(), active: z.number() }),
    flopsPerToken: z.number().positive(),
  }),
})

/**
 * Reads what `tinymoe eval --out` wrote; `source` names the file in errors. The parts that `evalSchema` has are checked,
 * the others taken as they are.
 * @throws InputError for a file that cannot be read, or is no evaluation of version 1
 */
export function readEvaluation(file: string, source = file): EvalReport {
  const report = readJson(file, InputError, `${source}:`) as EvalReport
  if (report?.format !== 'tinymoe-eval' || report.version !== 1)
    throw new InputError(`${source} is no evaluation of version 1, as \`tinymoe eval --out\` writes it`)
  const { error } = evalSchema.safeParse(report)
  if (error) throw new InputError(`${source} is no evaluation (${error.issues[0].path.join('.')})`)
  return report
}
