import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { countParameters } from '../src/cost/index.ts'
import { InputError, messageOf, TinymoeError, UsageError } from '../src/errors.ts'
import { readEvaluation } from '../src/eval/read.ts'
import type { EvalReport } from '../src/eval/types.ts'
import type { ModelConfig } from '../src/model/config.ts'
import { startRuntime } from '../src/runtime/index.ts'
import { deviceLine } from '../src/train/card-words.ts'
import { resumeTraining } from '../src/train/checkpoint.ts'
import { exportModel } from '../src/train/loop.ts'

/*
 * Makes a model's directory from a finished training, its card with the numbers of `tinymoe eval --out`:
 *   npx tsx models/export.ts RUN DIR
 *   npm run -s tinymoe -- eval DIR --out EVAL.json
 *   npx tsx models/export.ts RUN DIR EVAL.json
 * The weights are the same bytes each time. A training that did not note its device gets the one that this runs on.
 */

const USAGE = 'usage: tsx models/export.ts RUN DIR [EVAL.json]'

async function exportRun([run, dir, evaluationFile, ...more]: string[]): Promise<void> {
  if (run === undefined || dir === undefined || more.length > 0)
    throw new UsageError('export takes a folder of a training and one for the model')
  const { report } = await startRuntime({ device: 'cpu' })
  const training = resumeTraining(run)
  try {
    const { trainer, tokenizer, devices } = training
    const { steps } = trainer.settings
    if (trainer.step < steps)
      throw new InputError(`${run}: is at step ${trainer.step} of ${steps}; finish it with train --resume`)
    const evaluation =
      evaluationFile === undefined ? null : evaluationOf(trainer.model.config, evaluationFile)
    const known = devices.length > 0 ? devices : [deviceLine(report)]
    exportModel(run, dir, { trainer, tokenizer, devices: known }, evaluation)
    process.stdout.write(`model: ${resolve(dir)}\n`)
  } finally {
    training.trainer.dispose()
  }
}

/** @throws InputError for a file that is no evaluation, or one of another model */
function evaluationOf(config: ModelConfig, file: string): EvalReport {
  const report = readEvaluation(file)
  const [evaluated, own] = [report.cost.parameters.total, countParameters(config).total]
  if (report.model.family !== config.family || evaluated !== own)
    throw new InputError(
      `${file}: is of a ${report.model.family} with ${evaluated} parameters, but the training made a ${config.family} with ${own}`,
    )
  return report
}

try {
  await exportRun(parseArgs({ allowPositionals: true }).positionals)
} catch (error) {
  const usage = error instanceof UsageError || (error instanceof TypeError && 'code' in error)
  if (!usage && !(error instanceof TinymoeError)) throw error
  process.stderr.write(`error: ${messageOf(error)}\n${usage ? `${USAGE}\n` : ''}`)
  process.exitCode = usage ? 2 : 1
}
