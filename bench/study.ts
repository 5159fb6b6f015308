import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Presets, SingleBar } from 'cli-progress'
import { Command } from 'commander'
import { writeAtomically } from '../src/checkpoint/save.ts'
import { positive, wholeNumber } from '../src/cli/arguments.ts'
import { interruptible } from '../src/cli/interrupt.ts'
import { remark, table, write } from '../src/cli/output.ts'
import { checkOutputs } from '../src/cli/outputs.ts'
import { runScript } from '../src/cli/run-script.ts'
import { memoryLimit } from '../src/device/memory.ts'
import { MAX_THREADS } from '../src/device/threads.ts'
import { packageRoot } from '../src/package.ts'
import { PRESET_NAMES } from '../src/train/presets.ts'
import { checkTrainingSize } from '../src/train/size.ts'
import { type JobHooks, runJobs } from './study/jobs.ts'
import { type PlannedRun, planStudy } from './study/plan.ts'
import { signed, studyReport } from './study/summary.ts'
import { readResult } from './study/train.ts'
import type { StudyReport, StudyRun } from './study/types.ts'

/*
 * `tsx bench/study.ts`: does a sparse model learn better than dense ones? Trains the small size of every preset with several
 * seeds, at equal tokens and at equal training compute, and writes bench/results/study.json. Run again, it goes on.
 */

interface Flags {
  seeds: number
  pairSeeds?: number
  tokens: number
  jobs: number
  batch: number
  length: number
  learningRate: number
  out: string
  report: string
}

/** Without a terminal, a line about every so often. */
const LINE_EVERY_MS = 60_000
/** A training each, or seven: years of them. */
const MAX_SEEDS = 1000

const program = new Command('tsx bench/study.ts')
  .description('Trains the small presets with several seeds, at equal tokens and at equal training compute.')
  .option('--seeds <n>', 'seeds 1 to n', wholeNumber(1, MAX_SEEDS), 3)
  .option(
    '--pair-seeds <n>',
    'of moe and dense-active, where these shall have more',
    wholeNumber(1, MAX_SEEDS),
  )
  .option('--tokens <n>', 'of each training at equal tokens', wholeNumber(1, 1e12), 2_000_000)
  .option(
    '--jobs <n>',
    'processes at a time, each with one thread',
    wholeNumber(1, MAX_THREADS),
    availableParallelism(),
  )
  .option('--batch <n>', 'sequences of a step', wholeNumber(1, 1e9), 8)
  .option('--length <n>', 'tokens of a sequence', wholeNumber(2, 1e9), 288)
  .option('--learning-rate <x>', 'the highest one', positive(1000), 0.004)
  .option('--out <dir>', 'folder for the trainings', join('runs', 'study'))
  .option('--report <file>', 'where the results go', join(packageRoot(), 'bench', 'results', 'study.json'))
  .action(study)

async function study(flags: Flags): Promise<void> {
  const { seeds, pairSeeds, tokens, batch: rows, length, learningRate: peakLearningRate, out, jobs } = flags
  const options = { seeds, pairSeeds, tokens, rows, length, peakLearningRate }
  const memory = memoryLimit({ device: 'cpu', memoryBytes: null })
  for (const preset of PRESET_NAMES) checkTrainingSize({ preset, size: 'small', rows, length }, memory, jobs)
  checkOutputs({ flag: '--out', path: out, kind: 'folder' }, { flag: '--report', path: flags.report })
  const plan = planStudy(options)
  const results = new Map<string, StudyRun>()
  const keep = (result: StudyRun) => {
    results.set(result.id, result)
    const done = plan.flatMap(({ id }) => results.get(id) ?? [])
    const report = studyReport(options, plan, done)
    writeAtomically(flags.report, `${JSON.stringify(report, null, 1)}\n`)
    return report
  }
  let report = studyReport(options, plan, [])
  for (const run of plan) {
    const result = readResult(join(out, run.id), run)
    if (result) report = keep(result)
  }
  const left = plan.filter(({ id }) => !results.has(id))
  await interruptible((signal) =>
    withProgress(left, (onStep) =>
      runJobs(out, left, jobs, {
        signal,
        onStep,
        onResult: (result) => {
          report = keep(result)
          remark(`${result.id}: loss ${result.loss.toFixed(3)} (${results.size}/${plan.length})`)
        },
      }),
    ),
  )
  await write(printed(report, flags.report))
}

/** A bar over the steps of all runs on a terminal, else a line now and then. */
async function withProgress(
  runs: PlannedRun[],
  work: (onStep: JobHooks['onStep']) => Promise<void>,
): Promise<void> {
  const total = runs.reduce((sum, { settings }) => sum + settings.steps, 0)
  const steps = new Map<string, number>()
  const bar = new SingleBar(
    { format: 'study [{bar}] {value}/{total} steps  {what}', stream: process.stderr, hideCursor: true },
    Presets.rect,
  )
  let lastLine = performance.now()
  bar.start(total, 0, { what: '' })
  try {
    await work((run, step, crossEntropy) => {
      steps.set(run.id, step)
      const done = [...steps.values()].reduce((a, b) => a + b, 0)
      const what = `${run.id}: loss ${crossEntropy.toFixed(3)}`
      bar.update(done, { what })
      if (process.stderr.isTTY || performance.now() - lastLine < LINE_EVERY_MS) return
      lastLine = performance.now()
      remark(`${done}/${total} steps  ${what}`)
    })
  } finally {
    bar.stop()
  }
}

function printed({ cells, differences, conclusion, runs, planned }: StudyReport, file: string): string {
  const cellRows = cells.map(({ budget, preset, tokens, trainingFlops, values, mean, min, max }) => [
    budget,
    preset,
    tokens.toLocaleString('en'),
    (trainingFlops / 1e12).toFixed(2),
    mean.toFixed(3),
    min.toFixed(3),
    max.toFixed(3),
    String(values.length),
  ])
  const differenceRows = differences.map(({ budget, preset, than, mean, low, high, values }) => [
    budget,
    `${preset} - ${than}`,
    signed(mean),
    low === null ? '-' : signed(low),
    high === null ? '-' : signed(high),
    String(values.length),
  ])
  return [
    table([['equal', 'preset', 'tokens', 'TFLOP', 'loss', 'min', 'max', 'seeds'], ...cellRows], [0, 1]),
    table([['equal', 'difference', 'mean', 'low', 'high', 'seeds'], ...differenceRows], [0, 1]),
    `${conclusion}\n`,
    `${runs.length} of ${planned} trainings are done${runs.length > 0 ? `; ${file}` : ''}\n`,
  ].join('\n')
}

await runScript(program)
