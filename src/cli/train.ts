import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { startRuntime } from '../device/index.ts'
import { memoryLimit } from '../device/memory.ts'
import { InputError, UsageError } from '../errors.ts'
import * as read from '../script/arguments.ts'
import { addFlags, allOptions, flagOf, flags, type Given, type GlobalOptions } from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { startProgress } from '../script/progress.ts'
import { counted } from '../text/units.ts'
import { deviceLine } from '../train/card-words.ts'
import { checkpointDir, readTrainingState, resumeTraining, type Training } from '../train/checkpoint.ts'
import type { StepRecord } from '../train/log.ts'
import {
  exportModel,
  modelDir,
  planMinutes,
  runTraining,
  startTraining,
  type TrainHooks,
} from '../train/loop.ts'
import { PRESET_NAMES, presetOf, SIZE_NAMES } from '../train/presets.ts'
import { type TrainSettings, trainSettings } from '../train/settings.ts'
import { checkTrainingSize } from '../train/size.ts'

const DEFAULT_STEPS = 2000

/** Steps that a log can hold; a year; rows and lengths far beyond memory, which is asked then; a rate at which all is lost. */
const MAX_STEPS = 1e8
const MAX_MINUTES = 366 * 24 * 60
const MAX_ROWS = 1e9
const MAX_LENGTH = 1e9
const MAX_LEARNING_RATE = 1000

const EXAMPLES = `
Presets:
${PRESET_NAMES.map((name) => `  ${name.padEnd(14)}${presetOf({ preset: name, size: 'full' }).summary}`).join('\n')}

Examples:
  $ tinymoe train --preset moe --minutes 60
  $ tinymoe train --preset moe --out runs/moe --resume
  $ tinymoe train --preset dense-active --corpus notes/ diary.txt --steps 500

Needs TensorFlow (device cuda or cpu). Ctrl-C writes a checkpoint before it ends; --resume goes on from there.
`

const FLAGS = flags({
  preset: ['<name>', 'what to train', PRESET_NAMES],
  size: ['<name>', 'small: half as wide (default: full)', SIZE_NAMES],
  corpus: ['<path...>', "own text files or directories (default: the project's generated corpus)"],
  steps: ['<n>', `steps of the whole training (default: ${DEFAULT_STEPS})`, read.wholeNumber(1, MAX_STEPS)],
  minutes: ['<m>', 'as many steps as fit in about so many minutes', read.positive(MAX_MINUTES)],
  seed: ['<n>', 'of the first weights and the order of texts (default: 1)', read.seed],
  batch: ['<n>', 'sequences of a step (default: 16)', read.wholeNumber(1, MAX_ROWS)],
  length: ['<n>', 'tokens of a sequence (default: 256)', read.wholeNumber(2, MAX_LENGTH)],
  learningRate: ['<x>', 'the highest one (default: 0.002)', read.positive(MAX_LEARNING_RATE)],
  out: ['<dir>', 'folder for log, checkpoint and model (default: runs/<preset>, runs/<preset>-small)'],
  resume: ['', 'go on from the checkpoint in --out'],
})
type Flags = Given<typeof FLAGS>

export function register(program: Command): void {
  addFlags(program.command('train'), FLAGS)
    .description('Trains a small model from random weights and writes it as a Hugging Face directory.')
    .addHelpText('after', EXAMPLES)
    .action((_options: unknown, command: Command) => runTrain(allOptions<Flags>(command)))
}

async function runTrain(flags: Flags & GlobalOptions): Promise<void> {
  if (!flags.preset && !(flags.resume && flags.out)) throw new UsageError('train needs --preset')
  if (flags.steps !== undefined && flags.minutes !== undefined)
    throw new UsageError('train takes either --steps or --minutes')
  const { size = 'full' } = flags
  const out = flags.out ?? join('runs', size === 'full' ? flags.preset! : `${flags.preset}-${size}`)
  if (flags.resume) checkSameSettings(flags, readTrainingState(out).settings)
  else if (existsSync(checkpointDir(out)))
    throw new InputError(`${checkpointDir(out)} exists: --resume goes on with it, or choose another --out`)
  if (out === '') throw new UsageError('--out: is empty, expected the name of a folder')
  const settings = flags.resume ? readTrainingState(out).settings : settingsOf(flags)
  const { report } = await startRuntime({ device: flags.device, debug: flags.debug, onMessage: remark })
  checkTrainingSize(settings, memoryLimit(report))
  checkOutputs({ flag: '--out', path: out, kind: 'folder' })
  await interruptible('a checkpoint is written after this step', async (signal) => {
    const training = flags.resume ? resumeTraining(out) : await prepare(settings, flags.minutes)
    try {
      const finished = await withSteps(training, (hooks) =>
        runTraining(out, training, { signal, device: deviceLine(report), ...hooks }),
      )
      if (finished) await exportModel(out, modelDir(out), training)
      await write(
        flags.json
          ? `${JSON.stringify(summary(out, training, finished))}\n`
          : closing(out, training, finished),
      )
    } finally {
      training.trainer.dispose()
    }
  })
}

/** What flags set, by the names of settings. */
const SETTINGS = {
  preset: 'preset',
  size: 'size',
  steps: 'steps',
  seed: 'seed',
  batch: 'rows',
  length: 'length',
  learningRate: 'peakLearningRate',
  corpus: 'corpus',
} as const

function givenSettings(flags: Flags): [flag: keyof Flags, name: keyof TrainSettings, value: unknown][] {
  return Object.entries(SETTINGS).flatMap(([key, name]) => {
    const flag = key as keyof typeof SETTINGS
    return flags[flag] === undefined ? [] : [[flag, name, flags[flag]]]
  })
}

function settingsOf(flags: Flags): TrainSettings {
  const given = Object.fromEntries(givenSettings(flags).map(([, name, value]) => [name, value]))
  return trainSettings({ preset: flags.preset!, steps: DEFAULT_STEPS, ...given })
}

async function prepare(settings: TrainSettings, minutes: number | undefined): Promise<Training> {
  const training = await startTraining(settings)
  if (minutes !== undefined) {
    await planMinutes(training, minutes)
    remark(`${counted(training.trainer.settings.steps, 'step')} planned for ${counted(minutes, 'minute')}`)
  }
  return training
}

/** A training that goes on keeps its settings: a flag that says otherwise is an error, not ignored. */
function checkSameSettings(flags: Flags, stored: TrainSettings): void {
  if (flags.minutes !== undefined)
    throw new UsageError('--resume keeps the number of steps; leave out --minutes')
  for (const [flag, name, given] of givenSettings(flags)) {
    const [asked, kept] = [given, stored[name]].map((value) => [value].flat().join(' '))
    if (asked !== kept)
      throw new InputError(
        `${flagOf(flag)} is ${asked}, but the training to resume was started with ${kept || 'none'}`,
      )
  }
}

function summary(out: string, { trainer }: Training, finished: boolean) {
  const { step, settings } = trainer
  return { finished, step, settings, model: finished ? modelDir(out) : null, checkpoint: checkpointDir(out) }
}

function closing(out: string, { trainer }: Training, finished: boolean): string {
  const { step, settings } = trainer
  if (finished) return `model: ${modelDir(out)}\n`
  return `stopped after step ${step} of ${settings.steps}; go on with --out ${out} --resume\n`
}

/** Shows the steps of `work`; without a terminal its validations too. */
async function withSteps<T>(
  { trainer }: Training,
  work: (hooks: Pick<TrainHooks, 'onStep' | 'onValidation'>) => Promise<T>,
): Promise<T> {
  const { steps, rows, length } = trainer.settings
  const shown = startProgress('train')
  let speed = 0 // smoothed, so that the time left does not jump
  const first = trainer.step + 1
  try {
    return await work({
      onStep: (record) => {
        const { step, tokensPerSecond } = record
        speed = speed === 0 ? tokensPerSecond : 0.9 * speed + 0.1 * tokensPerSecond
        const what = `${step}/${steps}  ${describe(record, speed, ((steps - step) * rows * length) / speed)}`
        shown.show(step / steps, what, `step ${what}`, step === first || step === steps)
      },
      onValidation: ({ step, validation }) => {
        if (!process.stderr.isTTY) remark(`step ${step}  validation loss ${validation.toFixed(3)}`)
      },
    })
  } finally {
    shown.stop()
  }
}

/** Loss, speed, time left, and the shares of the least and the most used expert of any layer. */
function describe({ crossEntropy, load }: StepRecord, speed: number, secondsLeft: number): string {
  const shares = load.flat()
  const percent = (share: number) => (100 * share).toFixed(0)
  return [
    `loss ${crossEntropy.toFixed(3)}`,
    `${speed.toFixed(0)} tokens/s`,
    `${clock(secondsLeft)} left`,
    ...(shares.length > 0
      ? [`experts ${percent(Math.min(...shares))}-${percent(Math.max(...shares))} %`]
      : []),
  ].join('  ')
}

function clock(seconds: number): string {
  const minutes = Math.round(seconds / 60)
  if (minutes < 1) return `${Math.ceil(seconds)} s`
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
