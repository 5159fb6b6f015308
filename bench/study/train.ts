import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { ALL_DOMAINS, DOMAINS } from '../../src/corpus/index.ts'
import { startRuntime } from '../../src/device/index.ts'
import { InputError } from '../../src/errors.ts'
import { documentsOf, TextCodec } from '../../src/eval/documents.ts'
import { factsReport } from '../../src/eval/facts.ts'
import { documentLosses, lossReport } from '../../src/eval/loss.ts'
import { EVAL_DEFAULTS } from '../../src/eval/run.ts'
import type { ByDomain, FactsReport, LossReport } from '../../src/eval/types.ts'
import { readJson, writeAtomically } from '../../src/files.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { deviceLine } from '../../src/train/card-words.ts'
import {
  checkpointDir,
  readTrainingState,
  resumeTraining,
  type Training,
  tokenizerOf,
} from '../../src/train/checkpoint.ts'
import { isStep, meanShares, readLog } from '../../src/train/log.ts'
import { runTraining, startTraining, type TrainHooks } from '../../src/train/loop.ts'
import type { TrainSettings } from '../../src/train/settings.ts'
import { gitCommit } from '../conditions.ts'
import type { PlannedRun } from './plan.ts'

const RESULT_FILE = 'result.json'

/** A finished training, as its process wrote it. */
export interface StudyRun
  extends Omit<PlannedRun, 'settings'>,
    Pick<TrainSettings, 'preset' | 'size' | 'seed' | 'steps'> {
  /** Nats a token on held-out documents, mean of the domains: what `tinymoe eval` prints. */
  loss: number
  byDomain: ByDomain<number>
  /** What is recalled of all facts; null where it was trained on none. */
  facts: FactsReport | null
  /** Share of the assignments of the least and the most used expert of any layer at the end; null for a dense model. */
  leastUsed: number | null
  mostUsed: number | null
  /** Of the steps alone; a run that went on after an interruption counts all its steps. */
  seconds: number
  /** Where, with threads; several where a run went on elsewhere. */
  devices: string[]
  commit: string | null
}

/**
 * What the run's process left in `folder`, or null while it is not finished.
 * @throws InputError where the folder holds a training with other settings
 */
export function readResult(folder: string, run: PlannedRun): StudyRun | null {
  const file = join(folder, RESULT_FILE)
  if (!existsSync(file)) return null
  checkSettings(folder, run)
  return readJson(file, InputError) as StudyRun
}

/**
 * Does one training of the study in `folder`, or goes on with it, and measures the model. Resolves to null where the
 * signal ended it early.
 * @throws InputError where the folder holds a training with other settings
 */
export async function trainOne(folder: string, run: PlannedRun, hooks: TrainHooks): Promise<StudyRun | null> {
  const { report } = await startRuntime({ device: 'cpu', threads: 1 })
  const device = deviceLine(report)
  const begun = existsSync(checkpointDir(folder))
  if (begun) checkSettings(folder, run)
  const training = begun ? resumeTraining(folder) : startTraining(run.settings)
  try {
    if (!(await runTraining(folder, training, { ...hooks, device }))) return null
    const result = await measured(folder, run, training)
    writeAtomically(join(folder, RESULT_FILE), `${JSON.stringify(result, null, 1)}\n`)
    return result
  } finally {
    training.trainer.dispose()
  }
}

/** A folder's name says preset, seed and steps; a run with another learning rate has the same. */
function checkSettings(folder: string, { settings }: PlannedRun): void {
  if (!isDeepStrictEqual(readTrainingState(folder).settings, settings))
    throw new InputError(`${folder}: holds a training with other settings; choose another --out`)
}

async function measured(
  folder: string,
  { id, budgets, settings, ...planned }: PlannedRun,
  { trainer, tokenizer, devices }: Training,
): Promise<StudyRun> {
  const { preset, size, seed, steps, rows, length, facts } = settings
  const log = readLog(folder).filter(isStep)
  const shares = meanShares(log).flat()
  const codec = new TextCodec(folder, trainer.model.config, tokenizerOf(tokenizer))
  const { mean: loss, byDomain } = await heldOutLoss(trainer.model, codec, facts)
  const parameters = { total: planned.totalParameters, active: planned.activeParameters }
  return {
    id,
    budgets,
    preset,
    size,
    seed,
    steps,
    ...planned,
    loss,
    byDomain,
    facts: facts && (await factsReport(trainer.model, codec, facts, EVAL_DEFAULTS.split, parameters)),
    leastUsed: shares.length > 0 ? Math.min(...shares) : null,
    mostUsed: shares.length > 0 ? Math.max(...shares) : null,
    seconds: log.reduce((sum, { tokensPerSecond }) => sum + (rows * length) / tokensPerSecond, 0),
    devices,
    commit: await gitCommit(),
  }
}

/** As `tinymoe eval` measures it, on the same documents, so that losses compare with those of its reports. */
async function heldOutLoss(
  model: MoeModel,
  codec: TextCodec,
  facts: TrainSettings['facts'],
): Promise<LossReport> {
  const { split, seed, samples } = EVAL_DEFAULTS
  const documents = await documentsOf(codec, facts ? ALL_DOMAINS : DOMAINS, { split, seed, facts }, samples)
  return lossReport(documents, await documentLosses(model, documents))
}
