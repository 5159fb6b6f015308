import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { messageOf } from '../src/errors.ts'

/** What the page shows of an evaluation (`EvalReport` of src/eval/types.ts). */
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

const evalSchema = z.object({
  format: z.literal('tinymoe-eval'),
  model: z.object({ name: z.string(), mixtures: z.array(z.unknown()) }),
  split: z.string(),
  loss: z.object({ mean: z.number() }),
  cost: z.object({
    parameters: z.object({ total: z.number(), active: z.number() }),
    flopsPerToken: z.number().positive(),
  }),
})

/** Evaluations in a folder, `eval-*.json` by name, and a sentence for each such file that is none. */
export function evaluationsIn(folder: string): { found: EvalSummary[]; problems: string[] } {
  const found: EvalSummary[] = []
  const problems: string[] = []
  const files = readdirSync(folder).filter((name) => /^eval-.*\.json$/.test(name))
  for (const file of files.sort()) {
    try {
      const read = evalSchema.safeParse(JSON.parse(readFileSync(join(folder, file), 'utf8')))
      if (read.success) found.push(summaryOf(read.data))
      else problems.push(`${file} is no evaluation (${read.error.issues[0].path.join('.')})`)
    } catch (error) {
      problems.push(`${file} cannot be read (${messageOf(error)})`)
    }
  }
  return { found, problems }
}

function summaryOf({ model, split, loss, cost }: z.infer<typeof evalSchema>): EvalSummary {
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
