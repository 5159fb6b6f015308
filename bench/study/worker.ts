import { messageOf, TinymoeError } from '../../src/errors.ts'
import { exitCodeOf } from '../../src/signals.ts'
import type { PlannedRun } from './plan.ts'
import { trainOne } from './train.ts'

/*
 * A process of the study: `worker.ts FOLDER RUN`, with RUN as JSON. Tells its parent of each step; a message from it, or its
 * end, ends the training with a checkpoint.
 */

async function main([folder, run]: string[]): Promise<void> {
  const controller = new AbortController()
  const stop = () => controller.abort()
  process.once('message', stop)
  process.once('disconnect', stop)
  try {
    const planned: PlannedRun = JSON.parse(run)
    const result = await trainOne(folder, planned, {
      signal: controller.signal,
      onStep: ({ step, crossEntropy }) => process.send?.({ step, crossEntropy }),
    })
    if (!result) process.exitCode = exitCodeOf('SIGINT')
  } catch (error) {
    const text = error instanceof TinymoeError || !(error instanceof Error) ? messageOf(error) : error.stack
    process.stderr.write(`${text}\n`)
    process.exitCode = 1
  } finally {
    process.off('disconnect', stop)
    if (process.connected) process.disconnect()
  }
}

await main(process.argv.slice(2))
