import { z } from 'zod'
import { TinymoeError } from '../../src/errors.ts'
import { ending, type Finished, lastLine } from '../processes.ts'

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

/**
 * What the last line of a script's output says.
 * @throws TinymoeError with why there is none: it did not start, its own words, or how it ended
 */
export function readOutput<T>(command: string, finished: Finished, schema: z.ZodType<T>): T {
  if (finished.failure) throw new TinymoeError(`${command} cannot be started (${finished.failure})`)
  try {
    const said = JSON.parse(lastLine(finished.stdout))
    const { data } = Problem.safeParse(said)
    if (data) throw new TinymoeError(data.problem)
    return schema.parse(said)
  } catch (error) {
    if (error instanceof TinymoeError) throw error
    throw new TinymoeError(`${command} ${ending(finished)}`)
  }
}
