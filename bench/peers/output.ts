import { z } from 'zod'
import { type Finished, lastLine } from '../processes.ts'

export const Samples = z.array(z.number()).min(1)

/** What the last line of every script here says, whatever it measured; `rows` are its own. */
export const PeerOutput = z.object({
  library: z.string(),
  versions: z.record(z.string(), z.string()),
  threads: z.number(),
})

/** A case of a whole model by one implementation. */
export const ModelRow = z.object({
  kind: z.enum(['prefill', 'decode']),
  implementation: z.string(),
  batch: z.number(),
  /** In all sequences and steps of one sample. */
  tokens: z.number(),
  /** Of all steps. */
  samplesMs: Samples,
})

/** With the token of each sequence, per call: so two engines' greedy texts can be compared. */
export const ChosenRow = ModelRow.extend({ chosen: z.array(z.array(z.number())) })
export type ChosenRow = z.infer<typeof ChosenRow>

/** The last line of whole_model.py and whole-model.ts. */
export const ModelOutput = PeerOutput.extend({ rows: z.array(ModelRow) })

const Problem = z.object({ problem: z.string() })

/** What a script printed last, or its own words for why that is nothing; null where it printed something else. */
export function readOutput<T>(
  { stdout }: Finished,
  schema: z.ZodType<T>,
): { output: T } | { problem: string } | null {
  let said: unknown
  try {
    said = JSON.parse(lastLine(stdout))
  } catch {
    return null
  }
  const problem = Problem.safeParse(said)
  if (problem.success) return problem.data
  const output = schema.safeParse(said)
  return output.success ? { output: output.data } : null
}
