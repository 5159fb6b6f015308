import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { startRuntime } from '../device/index.ts'
import { memoryLimit } from '../device/memory.ts'
import { InputError, UsageError } from '../errors.ts'
import { readConfig } from '../load-model.ts'
import { EXECUTORS } from '../model/ways.ts'
import * as read from '../script/arguments.ts'
import { checkFactsFlags, factsFlag } from '../script/facts-size.ts'
import { addFlags, allOptions, flagOf, flags, type Given, type GlobalOptions } from '../script/flags.ts'
import { interruptible } from '../script/interrupt.ts'
import { remark, write } from '../script/output.ts'
import { checkOutputs } from '../script/outputs.ts'
import { startProgress } from '../script/progress.ts'
import { counted } from '../text/units.ts'
import { deviceLine } from '../train/card-words.ts'
import {
  checkpointDir,
  existingDir,
  readTrainingState,
  resumeTraining,
  type Training,
} from '../train/checkpoint.ts'
import { exposureSteps, FACTS, type FactsSettings, factsText } from '../train/facts.ts'
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
import { type TrainSettings, trainSettings, warmupSteps } from '../train/settings.ts'
import { checkTrainingSize } from '../train/size.ts'
import { configOf } from '../train/start.ts'

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
  $ tinymoe train --preset moe --size small --facts --batch 2 --length 288 --learning-rate 0.006
  $ tinymoe train --from runs/upcycled --out runs/upcycled-trained --steps 500

Needs TensorFlow (device cuda or cpu). Ctrl-C writes a checkpoint before it ends; --resume goes on from there.
`

const FLAGS = flags({
  preset: ['<name>', 'what to train', PRESET_NAMES],
  size: ['<name>', 'small: a quarter as wide (default: full)', SIZE_NAMES],
  from: ['<model>', "begin with a model's weights and tokenizer, such as an upcycled one's"],
  corpus: ['<path...>', "own text files or directories (default: the project's generated corpus)"],
  facts: factsFlag('also facts of so many entities, in steps by --exposures'),
  factsShare: ['<x>', `of the tokens (default: ${FACTS.share})`, read.share],
  exposures: [
    '<n>',
    `times that each fact is read (default: ${FACTS.exposures})`,
    read.wholeNumber(1, MAX_STEPS),
  ],
  steps: ['<n>', `steps of the whole training (default: ${DEFAULT_STEPS})`, read.wholeNumber(1, MAX_STEPS)],
  minutes: ['<m>', 'as many steps as fit in about so many minutes', read.positive(MAX_MINUTES)],
  seed: ['<n>', 'of the first weights and the order of texts (default: 1)', read.seed],
  batch: ['<n>', 'sequences of a step (default: 16)', read.wholeNumber(1, MAX_ROWS)],
  length: ['<n>', 'tokens of a sequence (default: 256)', read.wholeNumber(2, MAX_LENGTH)],
  learningRate: ['<x>', 'the highest one (default: 0.002)', read.positive(MAX_LEARNING_RATE)],
  executor: ['<name>', 'recorded: a step as one graph (default on cpu); eager: op by op', EXECUTORS],
  out: ['<dir>', 'folder for log, checkpoint and model (default: runs/<preset>, with -small and -facts)'],
  resume: ['', 'go on from the checkpoint in --out'],
})
type Flags = Given<typeof FLAGS>

export function register(program: Command): void {
  addFlags(program.command('train'), FLAGS)
    .description(
      'Trains a small model, from random weights or another model, and writes it as a Hugging Face directory.',
    )
    .addHelpText('after', EXAMPLES)
    .action((_options: unknown, command: Command) => runTrain(allOptions<Flags>(command)))
}

async function runTrain(flags: Flags & GlobalOptions): Promise<void> {
  checkStart(flags)
  checkLength(flags)
  const { size = 'full', facts } = flags
  const parts = [flags.preset, size === 'full' ? '' : size, facts ? 'facts' : '']
  const out = flags.out ?? join('runs', parts.filter(Boolean).join('-'))
  if (flags.resume) checkSameSettings(flags, readTrainingState(out).settings)
  else if (existsSync(checkpointDir(out)))
    throw new InputError(`${checkpointDir(out)} exists: --resume goes on with it, or choose another --out`)
  if (out === '') throw new UsageError('--out: is empty, expected the name of a folder')
  const chosen = flags.resume ? readTrainingState(out).settings : settingsOf(flags)
  const { report } = await startRuntime({ device: flags.device, debug: flags.debug, onMessage: remark })
  const byDefault = !flags.resume && flags.executor === undefined
  // On a card no recorded step was tried.
  const settings = byDefault && report.device !== 'cpu' ? { ...chosen, executor: 'eager' as const } : chosen
  const config = flags.resume ? readConfig(existingDir(out)).config : configOf(settings)
  checkTrainingSize(config, settings, memoryLimit(report))
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

function checkStart({ preset, size, from, resume, out }: Flags): void {
  if (!preset && from === undefined && !(resume && out))
    throw new UsageError('train needs --preset or --from')
  if (from === undefined) return
  if (preset || size) throw new UsageError('train takes either --from, or --preset and --size')
  if (!out) throw new UsageError('train --from needs --out')
}

/** One of them says how long a training is; facts are of the project's own corpus. */
function checkLength({ steps, minutes, exposures, facts, factsShare, corpus }: Flags): void {
  const given = Object.entries({ steps, minutes, exposures }).filter(([, value]) => value !== undefined)
  if (given.length > 1)
    throw new UsageError(`train takes one of ${given.map(([name]) => flagOf(name)).join(' and ')}`)
  if (facts && corpus) throw new UsageError('train takes either --corpus or --facts')
  checkFactsFlags({ facts, factsShare, exposures })
}

/** What flags set, by the names of settings. */
const SETTINGS = {
  preset: 'preset',
  size: 'size',
  from: 'from',
  steps: 'steps',
  seed: 'seed',
  batch: 'rows',
  length: 'length',
  learningRate: 'peakLearningRate',
  executor: 'executor',
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
  const facts = factsOf(flags)
  const settings = trainSettings({
    preset: flags.preset ?? null,
    from: flags.from ?? null,
    steps: DEFAULT_STEPS,
    ...given,
    facts,
  })
  if (!facts || flags.steps !== undefined || flags.minutes !== undefined) return settings
  const steps = exposureSteps(facts, flags.exposures ?? FACTS.exposures, settings)
  return { ...settings, steps, warmup: warmupSteps(steps) }
}

function factsOf({ facts, factsShare = FACTS.share }: Flags): FactsSettings | null {
  return facts ? { ...facts, share: factsShare } : null
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
  if ((flags.minutes ?? flags.exposures) !== undefined)
    throw new UsageError('--resume keeps the number of steps; leave out --minutes and --exposures')
  for (const [flag, name, given] of givenSettings(flags)) {
    const [asked, kept] = [given, stored[name]].map((value) => [value].flat().join(' '))
    if (asked !== kept)
      throw new InputError(
        `${flagOf(flag)} is ${asked}, but the training to resume was started with ${kept || 'none'}`,
      )
  }
  const share = flags.factsShare ?? stored.facts?.share
  const [asked, kept] = [factsOf({ ...flags, factsShare: share }), stored.facts].map(
    (facts) => facts && `${factsText(facts)}, a share of ${facts.share}`,
  )
  if (asked && asked !== kept)
    throw new InputError(`--facts is ${asked}, but the training to resume was started with ${kept ?? 'none'}`)
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
