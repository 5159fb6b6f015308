import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Random } from '../corpus/random.ts'
import type { EvalReport } from '../eval/types.ts'
import type { TokenizerJson } from '../text/bpe.ts'
import { trainBpe } from '../text/bpe.ts'
import { modelCard } from './card.ts'
import { readModel, saveModel, saveTraining, type Training, textsOf, tokenizerOf } from './checkpoint.ts'
import { initWeights } from './initialize.ts'
import { appendLog, readLog, type StepRecord, startLog } from './log.ts'
import type { TrainSettings } from './settings.ts'
import { configOf, titleOf } from './start.ts'
import { SPECIAL_TOKENS, trainTokenizer, VOCAB_SIZE } from './tokenizer.ts'
import { Trainer, type ValidationResult } from './trainer.ts'

/** The tokenizer is one for all runs, so that losses a token compare. */
const TOKENIZER_SEED = 1
/** Texts of own files from which the tokenizer learns. */
const TOKENIZER_TEXTS = 2000

/** A training at its first step. InputError for a corpus that cannot be read, or a model that is none of this trainer's. */
export function startTraining(settings: TrainSettings): Training {
  const texts = textsOf(settings)
  const { config, weights, tokenizer } =
    settings.from === null ? randomModel(settings) : readModel(settings.from)
  const trainer = new Trainer(settings, config, weights, texts, tokenizerOf(tokenizer))
  return { trainer, tokenizer, devices: [] }
}

function randomModel(settings: TrainSettings): ReturnType<typeof readModel> {
  const tokenizer =
    settings.corpus.length > 0 ? tokenizerOfTexts(settings) : trainTokenizer(TOKENIZER_SEED, settings.facts)
  const config = configOf(settings)
  return { config, weights: initWeights(config, settings.seed), tokenizer }
}

/**
 * Plans as many steps as fit in `minutes`, by timing a few that are not taken. The number is then fixed, so that `--steps`
 * repeats the run exactly: how long it really takes depends on what else the machine does.
 */
export async function planMinutes({ trainer }: Training, minutes: number): Promise<void> {
  trainer.plan(Math.max(1, Math.round((minutes * 60) / (await trainer.secondsPerStep()))))
}

function tokenizerOfTexts(settings: TrainSettings): TokenizerJson {
  const texts = textsOf(settings)
  const random = new Random('tokenizer')
  const drawn = Array.from({ length: TOKENIZER_TEXTS }, () => texts.draw(texts.domains[0], 'train', random))
  return trainBpe([...new Set(drawn)], {
    vocabSize: VOCAB_SIZE,
    specialTokens: SPECIAL_TOKENS,
    individualDigits: true,
  })
}

export interface TrainHooks {
  /** Where the steps are computed; kept for the model card. */
  device?: string
  /** Aborted: the step is finished, a checkpoint written, and the run ends. */
  signal?: AbortSignal
  onStep?(record: StepRecord): void
  onValidation?(result: ValidationResult): void
}

/**
 * Runs a training to its last step: a log of every step in `out`, validations and checkpoints now and then, and at the
 * end the curve. Resolves to false where the signal ended it early.
 */
export async function runTraining(out: string, training: Training, hooks: TrainHooks = {}): Promise<boolean> {
  const { trainer } = training
  const { steps, rows, length, validateEvery, checkpointEvery } = trainer.settings
  startLog(out, trainer.step)
  if (hooks.device && trainer.step < steps)
    training.devices = [...new Set([...training.devices, hooks.device])]
  while (trainer.step < steps && !hooks.signal?.aborted) {
    const start = performance.now()
    const result = await trainer.train()
    const record = { ...result, tokensPerSecond: (1000 * rows * length) / (performance.now() - start) }
    appendLog(out, record)
    hooks.onStep?.(record)
    if (trainer.step % validateEvery === 0 || trainer.step === steps) {
      const validation = await trainer.validate()
      appendLog(out, validation)
      hooks.onValidation?.(validation)
    }
    if (trainer.step % checkpointEvery === 0) saveTraining(out, training)
    await nextTurn() // lets a Ctrl-C in
  }
  if (trainer.step % checkpointEvery !== 0) saveTraining(out, training)
  return trainer.step === steps
}

/** Where the finished model is put. */
export function modelDir(out: string): string {
  return join(out, 'model')
}

/**
 * Writes the finished model as a Hugging Face directory in bfloat16, with its curve, and a card that has `evaluation` where
 * there is one.
 */
export async function exportModel(
  out: string,
  dir: string,
  { trainer, tokenizer, devices }: Training,
  evaluation: EvalReport | null = null,
): Promise<void> {
  const { curveSvg } = await import('./curve.ts') // what draws takes long to load, and is needed here alone
  const { settings } = trainer
  const log = readLog(out)
  saveModel(dir, trainer, tokenizer, 'BF16', {
    'README.md': modelCard({
      settings,
      config: trainer.model.config,
      texts: textsOf(settings),
      log,
      devices,
      evaluation,
    }),
    'curve.svg': curveSvg(log, `${titleOf(settings)}, seed ${settings.seed}`),
  })
}
