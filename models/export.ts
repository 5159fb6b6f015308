import { resolve } from 'node:path'
import { Command } from 'commander'
import { countParameters } from '../src/cost/index.ts'
import { startRuntime } from '../src/device/index.ts'
import { InputError } from '../src/errors.ts'
import { readEvaluation } from '../src/eval/read.ts'
import type { EvalReport } from '../src/eval/types.ts'
import type { ModelConfig } from '../src/model/config.ts'
import { checkOutputs } from '../src/script/outputs.ts'
import { runScript } from '../src/script/run.ts'
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

async function exportRun(run: string, dir: string, evaluationFile?: string): Promise<void> {
  checkOutputs({ flag: '<dir>', path: dir, kind: 'folder' })
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
    await exportModel(run, dir, { trainer, tokenizer, devices: known }, evaluation)
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

const program = new Command('tsx models/export.ts')
  .description("Makes a model's directory from a finished training.")
  .argument('<run>', 'folder of the training')
  .argument('<dir>', 'folder for the model')
  .argument('[evaluation]', 'what `tinymoe eval DIR --out` wrote, for the card')
  .action((run: string, dir: string, evaluation?: string) => exportRun(run, dir, evaluation))

await runScript(program)
