/**
 * tinymoe and transformers on one checkpoint, in turns: `npx tsx bench/peers/alternate.ts --model DIR --threads 2`.
 *
 * Each turn is a process of its own and takes few samples, then it is the other's turn, so that what else the machine does
 * meets both. Cases: prefill of 512, decode of one sequence, decode of 8 of different lengths. With --out FILE the samples
 * and conditions are stored as JSON; with --dtype both sides multiply in that type. (llama.cpp needs its own file of the model:
 * `tinymoe bench --llama-bench`.)
 */
import { cpus } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { MAX_THREADS } from '../../src/device/threads.ts'
import { writeAtomically } from '../../src/files.ts'
import { wholeNumber } from '../../src/script/arguments.ts'
import { addFlags, DTYPE, flags, type Given, REQUIRED } from '../../src/script/flags.ts'
import { write } from '../../src/script/output.ts'
import { checkOutputs } from '../../src/script/outputs.ts'
import { runScript } from '../../src/script/run.ts'
import { gitCommit, loadAverage } from '../conditions.ts'
import { takeTurns, turnsTable } from './in-turns.ts'

/** What is measured, as flags of both scripts. */
const CASES = [
  ['--prefill', '512', '--decode', '64', '--batch', '1'],
  ['--prefill', '0', '--decode', '32', '--batch', '8'],
]

const FLAGS = flags({
  model: ['<dir>', 'a Hugging Face directory', undefined, REQUIRED],
  threads: ['<n>', 'threads of both', wholeNumber(1, MAX_THREADS), cpus().length],
  python: ['<path>', 'one with torch and transformers', undefined, process.env.PYTHON || 'python3'],
  rounds: ['<n>', 'turns of each', wholeNumber(1, 10_000), 3],
  samples: ['<n>', 'timed runs of a case in a turn', wholeNumber(1, 10_000), 2],
  dtype: DTYPE,
  out: ['<file>', 'store samples and conditions as JSON'],
})

async function alternate(given: Given<typeof FLAGS>): Promise<void> {
  const { model, threads, python, rounds, samples, dtype = 'float32', out } = given
  checkOutputs({ flag: '--out', path: out })
  const date = new Date().toISOString()
  const loadAverageBefore = loadAverage()
  const sides = [
    [process.execPath, '--import', 'tsx', join(import.meta.dirname, 'whole-model.ts')],
    [python, join(import.meta.dirname, 'whole_model.py')],
  ]
  const common = Object.entries({ model, dtype, threads, samples }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ])
  const cases = CASES.map((measured) => [...common, ...measured])
  const { versions, rows } = await takeTurns(sides, cases, rounds)
  const conditions = {
    date,
    model,
    threads,
    dtype,
    processor: cpus()[0]?.model ?? null,
    loadAverageBefore,
    commit: await gitCommit(),
    versions,
  }
  if (out !== undefined) writeAtomically(out, `${JSON.stringify({ ...conditions, rows }, null, 1)}\n`)
  const circumstances = `${model}, ${dtype}, ${threads} threads, load ${loadAverageBefore} before the start`
  await write(`${turnsTable(rows)}${circumstances}; ${JSON.stringify(versions)}\n`)
}

const program = addFlags(new Command('tsx bench/peers/alternate.ts'), FLAGS)
  .description('Times tinymoe and transformers on one checkpoint, in turns, on the processor.')
  .usage('--model DIR [options]')
  .action(alternate)

await runScript(program)
