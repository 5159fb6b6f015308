/**
 * A training step of tinymoe, recorded and eager, and of PyTorch, eager and compiled, from the same weights on the same batches, step by
 * step in turns: `npx tsx bench/peers/training-step.ts --preset moe --python venv/bin/python`. All minimise the cross-entropy alone.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Command } from 'commander'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { startRuntime } from '../../src/device/index.ts'
import { MAX_THREADS } from '../../src/device/threads.ts'
import { TinymoeError } from '../../src/errors.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { summarize } from '../../src/samples.ts'
import { wholeNumber } from '../../src/script/arguments.ts'
import { addFlags, flags, type Given } from '../../src/script/flags.ts'
import { remark, write } from '../../src/script/output.ts'
import { runScript } from '../../src/script/run.ts'
import { table } from '../../src/text/columns.ts'
import { zeroMoments } from '../../src/train/adamw.ts'
import { Batches } from '../../src/train/batches.ts'
import { tokenizerOf } from '../../src/train/checkpoint.ts'
import { EagerSteps } from '../../src/train/eager-steps.ts'
import { initWeights } from '../../src/train/initialize.ts'
import { storedValues, trainable } from '../../src/train/parameters.ts'
import { PRESET_NAMES, presetOf, SIZE_NAMES } from '../../src/train/presets.ts'
import { RecordedSteps } from '../../src/train/recorded-steps.ts'
import { type TrainSettings, trainSettings } from '../../src/train/settings.ts'
import type { Trained } from '../../src/train/steps.ts'
import { generatedTexts } from '../../src/train/texts.ts'
import { trainTokenizer } from '../../src/train/tokenizer.ts'
import { loadAverage } from '../conditions.ts'

const FLAGS = flags({
  preset: ['<name>', 'what is trained', PRESET_NAMES, 'moe'],
  size: ['<name>', 'small: a quarter as wide', SIZE_NAMES, 'full'],
  batch: ['<n>', 'sequences of a step', wholeNumber(1, 4096), 16],
  length: ['<n>', 'tokens of a sequence', wholeNumber(2, 1024), 256],
  steps: ['<n>', 'of each; the first does not count', wholeNumber(2, 1000), 12],
  threads: ['<n>', 'threads of all', wholeNumber(1, MAX_THREADS), cpus().length],
  python: ['<path>', 'one with torch and transformers', undefined, process.env.PYTHON || 'python3'],
})

interface Step {
  ms: number
  /** Of all threads. */
  cpuMs: number
  loss: number
  gradientNorm: number
}

/** Who takes the next step of his own copy of the model. */
interface Side {
  name: string
  step(t: number): Promise<Step>
  end(): void
}

const RATE = 1e-3

async function compare(given: Given<typeof FLAGS>): Promise<void> {
  const { preset, size, batch: rows, length, steps, threads, python } = given
  await startRuntime({ device: 'cpu', threads })
  const chosen = { preset, size, rows, length, steps, lossWeights: { balance: 0, z: 0 }, biasRate: null }
  const settings = trainSettings(chosen)
  const batches = await batchesOf(settings)
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-training-'))
  const sides: Side[] = []
  try {
    const told = { batches, clipNorm: settings.clipNorm, adamw: { ...settings.adamw, rate: RATE } }
    writeFileSync(join(dir, 'batches.json'), JSON.stringify(told))
    sides.push(
      ourSide('tinymoe recorded', new RecordedSteps(writtenTo(dir, settings)), batches),
      ourSide('tinymoe eager', new EagerSteps(writtenTo(dir, settings)), batches),
    )
    const common = ['--model', dir, '--batches', join(dir, 'batches.json'), '--threads', String(threads)]
    for (const extra of [
      ['--experts', 'eager'],
      ['--experts', 'grouped_mm'],
      ['--experts', 'grouped_mm', '--compile'],
    ])
      sides.push(await pythonSide(python, [...common, ...extra], `pytorch ${extra.slice(1).join(' ')}`))
    const taken = new Map(sides.map(({ name }) => [name, [] as Step[]]))
    for (let t = 1; t <= steps; t++) {
      for (const side of sides) {
        const step = await side.step(t)
        taken.get(side.name)?.push(step)
        remark(
          `step ${t}  ${side.name}  ${step.ms.toFixed(0)} ms  loss ${step.loss.toFixed(6)}  norm ${step.gradientNorm.toFixed(6)}`,
        )
      }
    }
    await write(`${summary(taken, rows * length)}${threads} threads, load ${loadAverage()} at the end\n`)
  } finally {
    for (const side of sides) side.end()
    rmSync(dir, { recursive: true })
  }
}

async function batchesOf(settings: TrainSettings): Promise<number[][][]> {
  const batches = new Batches(
    generatedTexts(settings.seed),
    tokenizerOf(trainTokenizer(1)),
    settings,
    settings.seed,
  )
  return Promise.all(Array.from({ length: settings.steps }, (_, step) => batches.training(step)))
}

/** A preset's first weights, which are in the folder too. */
function writtenTo(dir: string, settings: TrainSettings): Trained {
  const { config } = presetOf({ preset: settings.preset!, size: settings.size })
  const { weights, parameters } = trainable(initWeights(config, settings.seed))
  saveCheckpoint(dir, config, 'F32', storedValues(config, parameters, weights))
  const moments = parameters.map(({ values }) => zeroMoments(values.length))
  return { model: new MoeModel(config, weights), parameters, moments, settings }
}

function ourSide(name: string, steps: RecordedSteps | EagerSteps, batches: number[][][]): Side {
  return {
    name,
    async step(t) {
      const [start, before] = [performance.now(), process.cpuUsage()]
      const { loss, gradientNorm } = steps.step(batches[t - 1], t, RATE)
      const { user, system } = process.cpuUsage(before)
      return { ms: performance.now() - start, cpuMs: (user + system) / 1000, loss, gradientNorm }
    },
    end: () => steps.dispose(),
  }
}

async function pythonSide(python: string, args: string[], name: string): Promise<Side> {
  const child = spawn(python, [join(import.meta.dirname, 'training_step.py'), ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })
  const next = async <Line>(): Promise<Line> => {
    const line = await Promise.race([once(lines, 'line'), ended(child)])
    const found = JSON.parse(String(line))
    if (found.problem) throw new TinymoeError(`${name}: ${found.problem}`)
    return found
  }
  remark(`${name}: ${JSON.stringify(await next())}`)
  return {
    name,
    step(t) {
      child.stdin.write(`${t}\n`)
      return next<Step>()
    },
    end: () => child.kill(),
  }
}

async function ended(child: ChildProcess): Promise<string> {
  const [code] = await once(child, 'exit')
  return JSON.stringify({ problem: `Python ended with ${code}` })
}

/** The first step, in which graphs are made, does not count. */
function summary(taken: Map<string, Step[]>, tokens: number): string {
  const [[, ours]] = taken
  const cells = [...taken].map(([name, steps]) => {
    const { medianMs, p10Ms, p90Ms } = summarize(steps.slice(1).map(({ ms }) => ms))
    const cpu = summarize(steps.slice(1).map(({ cpuMs }) => cpuMs)).medianMs
    const apart = Math.max(...steps.map(({ loss }, i) => Math.abs(loss - ours[i].loss)))
    return [
      name,
      ...[medianMs, p10Ms, p90Ms].map((ms) => ms.toFixed(0)),
      ...[medianMs, cpu].map((ms) => ((1000 * tokens) / ms).toFixed(0)),
      steps[0].gradientNorm.toFixed(6),
      apart.toExponential(1),
    ]
  })
  const header = [
    '',
    'median ms',
    'p10',
    'p90',
    'tokens/s',
    'a second of CPU',
    'first gradient norm',
    'losses apart',
  ]
  return table([header, ...cells], [0])
}

const program = addFlags(new Command('tsx bench/peers/training-step.ts'), FLAGS)
  .description('Training steps of tinymoe and of PyTorch, in turns, on the processor.')
  .action(compare)

await runScript(program)
