import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { BYTES_PER_WEIGHT } from '../../src/cost/index.ts'
import { countParameters } from '../../src/cost/parameters.ts'
import type { LoadedModel } from '../../src/load-model.ts'
import { quantile } from '../../src/samples.ts'
import { readOutput } from '../peers/output.ts'
import { type Parent, runCommand } from '../processes.ts'
import type { Loading } from '../schema.ts'

const Loaded = z.object({
  ms: z.number(),
  baseBytes: z.number().nullable(),
  peakBytes: z.number().nullable(),
})

/**
 * Loads the model's directory up to `times` times, each in a new process, as long as the budget has time for another. Null
 * when a process did not get to the end.
 */
export async function measureLoading(
  { dir, runtime, config }: LoadedModel,
  times: number,
  budgetMs: number,
  parent: Parent,
): Promise<Loading | null> {
  const runs: z.infer<typeof Loaded>[] = []
  const started = performance.now()
  for (let i = 0; i < times; i++) {
    const spent = performance.now() - started
    if (i > 0 && spent + spent / i > budgetMs) break
    const finished = await runCommand(process.execPath, [...script(), dir, runtime.device], parent)
    try {
      runs.push(readOutput(process.execPath, finished, Loaded))
    } catch {
      return null
    }
  }
  const most = (values: (number | null)[]) =>
    values.some((value) => value === null) ? null : Math.max(...(values as number[]))
  const samplesMs = runs.map(({ ms }) => ms)
  return {
    medianMs: quantile(samplesMs, 0.5),
    samplesMs,
    weightBytes: BYTES_PER_WEIGHT * countParameters(config).total,
    peakBytes: most(runs.map(({ peakBytes }) => peakBytes)),
    baseBytes: most(runs.map(({ baseBytes }) => baseBytes)),
  }
}

/** load-once beside this file: built JavaScript, or TypeScript that tsx runs. */
function script(): string[] {
  const built = import.meta.url.endsWith('.js')
  const path = fileURLToPath(new URL(built ? 'load-once.js' : 'load-once.ts', import.meta.url))
  return built ? [path] : ['--import', import.meta.resolve('tsx'), path]
}
