import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { sum } from 'd3-array'
import { memoryLimit } from '../src/device/memory.ts'
import { MAX_THREADS } from '../src/device/threads.ts'
import { InputError } from '../src/errors.ts'
import { readJson, writeAtomically } from '../src/files.ts'
import { packageRoot } from '../src/package.ts'
import { positive, share, wholeNumber } from '../src/script/arguments.ts'
import { checkFactsFlags, factsFlag } from '../src/script/facts-size.ts'
import { addFlags, flags, type Given } from '../src/script/flags.ts'
import { interruptible } from '../src/script/interrupt.ts'
import { remark, write } from '../src/script/output.ts'
import { checkOutputs } from '../src/script/outputs.ts'
import { withProgress } from '../src/script/progress.ts'
import { runScript } from '../src/script/run.ts'
import { table } from '../src/text/columns.ts'
import { exposureSteps, FACTS } from '../src/train/facts.ts'
import { PRESET_NAMES, presetOf, SIZE_NAMES } from '../src/train/presets.ts'
import { checkTrainingSize } from '../src/train/size.ts'
import { factsTables, studyTables } from './quality/table.ts'
import { cellsOf } from './report/section.ts'
import { factsConclusion } from './study/facts.ts'
import { runJobs } from './study/jobs.ts'
import { planStudy, type StudyOptions } from './study/plan.ts'
import { runsIn, type StudyReport, studyReport } from './study/summary.ts'
import { readResult, type StudyRun } from './study/train.ts'

/*
 * `tsx bench/study.ts`: does a sparse model learn better than dense ones? Trains the small size of every preset with several
 * seeds, at equal tokens and at equal training compute, and writes bench/results/study.json. Run again, it goes on. `--facts`: on a
 * corpus with facts, at equal tokens, and what each keeps of them; bench/results/study-facts.json.
 */

/** Without facts. */
const TOKENS = 2_000_000
const USUAL = { rows: 8, peakLearningRate: 0.004 } as const
/** Facts are learned in many small steps; docs/log.md has what else was tried. */
const OF_FACTS = { rows: 2, peakLearningRate: 0.006 } as const
/** A training each, or seven: years of them. */
const upToSeeds = wholeNumber(1, 1000)

const FLAGS = flags({
  seeds: ['<n>', 'seeds 1 to n', upToSeeds, 3],
  pairSeeds: ['<n>', 'of moe and dense-active, where these shall have more', upToSeeds],
  tokens: [
    '<n>',
    `of each training at equal tokens (default: ${TOKENS}; with --facts by --exposures)`,
    wholeNumber(1, 1e12),
  ],
  facts: factsFlag('what is kept of the facts of so many entities'),
  factsShare: ['<x>', `of the tokens (default: ${FACTS.share})`, share],
  exposures: ['<n>', `times that each fact is read (default: ${FACTS.exposures})`, wholeNumber(1, 1e6)],
  jobs: [
    '<n>',
    'processes at a time, each with one thread',
    wholeNumber(1, MAX_THREADS),
    availableParallelism(),
  ],
  size: ['<name>', 'of the models', SIZE_NAMES, 'small'],
  batch: [
    '<n>',
    `sequences of a step (default: ${USUAL.rows}; with --facts ${OF_FACTS.rows})`,
    wholeNumber(1, 1e9),
  ],
  length: ['<n>', 'tokens of a sequence', wholeNumber(2, 1e9), 288],
  learningRate: [
    '<x>',
    `the highest one (default: ${USUAL.peakLearningRate}; with --facts ${OF_FACTS.peakLearningRate})`,
    positive(1000),
  ],
  out: ['<dir>', 'folder for the trainings (default: runs/study, or runs/study-facts)'],
  report: ['<file>', 'where the results go (default: study.json or study-facts.json in bench/results)'],
})

const program = addFlags(new Command('tsx bench/study.ts'), FLAGS)
  .description('Trains the small presets with several seeds, at equal tokens and at equal training compute.')
  .action(study)

async function study(given: Given<typeof FLAGS>): Promise<void> {
  const name = given.facts ? 'study-facts' : 'study'
  const { jobs, out = join('runs', name) } = given
  const { report: file = join(packageRoot(), 'bench', 'results', `${name}.json`) } = given
  const options = optionsOf(given)
  const { rows, length, size } = options
  const memory = memoryLimit({ device: 'cpu', memoryBytes: null })
  for (const preset of PRESET_NAMES)
    checkTrainingSize(presetOf({ preset, size }).config, { rows, length }, memory, jobs)
  checkOutputs({ flag: '--out', path: out, kind: 'folder' }, { flag: '--report', path: file })
  const plan = planStudy(options)
  const results = new Map<string, StudyRun>()
  const keep = (result: StudyRun) => {
    results.set(result.id, result)
    const done = plan.flatMap(({ id }) => results.get(id) ?? [])
    const report = studyReport(options, plan, done)
    writeAtomically(file, `${JSON.stringify(report, null, 1)}\n`)
    return report
  }
  let report = studyReport(options, plan, [])
  const known = existsSync(file) ? runsIn(readJson(file, InputError) as StudyReport, options) : []
  for (const run of plan) {
    const result = readResult(join(out, run.id), run) ?? known.find(({ id }) => id === run.id)
    if (result) report = keep(result)
  }
  const left = plan.filter(({ id }) => !results.has(id))
  const total = sum(left, ({ settings }) => settings.steps)
  const steps = new Map<string, number>()
  await interruptible('each training writes a checkpoint, and the same command goes on', (signal) =>
    withProgress('study', (onProgress) =>
      runJobs(out, left, jobs, {
        signal,
        onStep: ({ id }, step, crossEntropy) => {
          const done = sum(steps.set(id, step).values())
          onProgress(done / total, `${done}/${total} steps  ${id}: loss ${crossEntropy.toFixed(3)}`)
        },
        onResult: (result) => {
          report = keep(result)
          remark(`${result.id}: loss ${result.loss.toFixed(3)} (${results.size}/${plan.length})`)
        },
      }),
    ),
  )
  await write(printed(report, file))
}

function optionsOf(given: Given<typeof FLAGS>): StudyOptions {
  const usual = given.facts ? OF_FACTS : USUAL
  const { seeds, pairSeeds, length, factsShare, exposures } = given
  const { size, batch: rows = usual.rows } = given
  const { learningRate: peakLearningRate = usual.peakLearningRate } = given
  checkFactsFlags(given)
  const facts = given.facts ? { ...given.facts, share: factsShare ?? FACTS.share } : null
  const tokens = facts
    ? exposureSteps(facts, exposures ?? FACTS.exposures, { rows, length }) * rows * length
    : TOKENS
  return { seeds, pairSeeds, tokens: given.tokens ?? tokens, rows, length, peakLearningRate, size, facts }
}

function printed(report: StudyReport, file: string): string {
  const { conclusion, runs, planned } = report
  const { losses, pairs } = studyTables(report)
  const kept = report.facts && factsTables(report.facts)
  return [
    table(cellsOf(losses), [0, 1]),
    table(cellsOf(pairs), [0, 1]),
    `${conclusion}\n`,
    ...(report.facts && kept
      ? [
          table(cellsOf(kept.kept), [0]),
          table(cellsOf(kept.pairs), [0]),
          `${factsConclusion(report.facts)}\n`,
        ]
      : []),
    `${runs.length} of ${planned} trainings are done${runs.length > 0 ? `; ${file}` : ''}\n`,
  ].join('\n')
}

await runScript(program)
