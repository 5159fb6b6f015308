import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { writeAtomically } from '../../src/checkpoint/save.ts'
import { InputError } from '../../src/errors.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { startRuntime } from '../../src/runtime/index.ts'
import { Batches } from '../../src/train/batches.ts'
import {
  checkpointDir,
  readTrainingState,
  resumeTraining,
  textsOf,
  tokenizerOf,
} from '../../src/train/checkpoint.ts'
import { evaluate } from '../../src/train/gradients.ts'
import { isStep, meanShares, readLog } from '../../src/train/log.ts'
import { runTraining, startTraining, type TrainHooks, type Training } from '../../src/train/loop.ts'
import { gitCommit } from '../conditions.ts'
import type { PlannedRun } from './plan.ts'
import type { StudyRun } from './types.ts'

/** Rows of each domain on which a finished model is measured: more than training's own validation, for less noise. */
const VALIDATION_ROWS = 32
/** Of those, computed at once. */
const ROWS_AT_ONCE = 8

const RESULT_FILE = 'result.json'

/** What the run's process left, or null while it is not finished. */
export function readResult(folder: string): StudyRun | null {
  const file = join(folder, RESULT_FILE)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null
}

/**
 * Does one training of the study in `folder`, or goes on with it, and measures the model. Resolves to null where the
 * signal ended it early.
 * @throws InputError where the folder holds a training with other settings
 */
export async function trainOne(folder: string, run: PlannedRun, hooks: TrainHooks): Promise<StudyRun | null> {
  const { report } = await startRuntime({ device: 'cpu', threads: 1 })
  const training = existsSync(checkpointDir(folder)) ? resumed(folder, run) : startTraining(run.settings)
  try {
    if (!(await runTraining(folder, training, hooks))) return null
    const device = `${report.device} (${report.deviceName}, ${report.threads} thread)`
    const result = await measured(folder, run, training, device)
    writeAtomically(join(folder, RESULT_FILE), `${JSON.stringify(result, null, 1)}\n`)
    return result
  } finally {
    training.trainer.dispose()
  }
}

function resumed(folder: string, { settings }: PlannedRun): Training {
  if (!isDeepStrictEqual(readTrainingState(folder).settings, settings)) {
    throw new InputError(`${folder}: holds a training with other settings; choose another --out`)
  }
  return resumeTraining(folder)
}

async function measured(
  folder: string,
  { id, budgets, settings, ...planned }: PlannedRun,
  { trainer, tokenizer }: Training,
  device: string,
): Promise<StudyRun> {
  const { preset, size, seed, steps, rows, length } = settings
  const log = readLog(folder).filter(isStep)
  const shares = meanShares(log).flat()
  const texts = textsOf(settings)
  const batches = new Batches(texts, tokenizerOf(tokenizer), { rows: VALIDATION_ROWS, length }, seed)
  const losses = texts.domains.map((domain) => validationLoss(trainer.model, batches.validation(domain)))
  return {
    id,
    budgets,
    preset,
    size,
    seed,
    steps,
    ...planned,
    validation: mean(losses),
    byDomain: Object.fromEntries(texts.domains.map((domain, i) => [domain, losses[i]])),
    validationTokens: texts.domains.length * VALIDATION_ROWS * length,
    leastUsed: shares.length > 0 ? Math.min(...shares) : null,
    mostUsed: shares.length > 0 ? Math.max(...shares) : null,
    seconds: log.reduce((sum, { tokensPerSecond }) => sum + (rows * length) / tokensPerSecond, 0),
    device,
    commit: await gitCommit(),
  }
}

/** Parts of equal size, so their mean is that of all rows. */
function validationLoss(model: MoeModel, rows: number[][]): number {
  const parts = Array.from({ length: rows.length / ROWS_AT_ONCE }, (_, i) =>
    evaluate(model, rows.slice(i * ROWS_AT_ONCE, (i + 1) * ROWS_AT_ONCE)),
  )
  return mean(parts)
}

function mean(values: number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length
}
