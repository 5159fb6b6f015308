/**
 * tinymoe and transformers on one checkpoint, in turns: `npx tsx bench/peers/alternate.ts --model DIR --threads 2`.
 *
 * Each turn is a process of its own and takes few samples, then it is the other's turn, so that what else the machine does
 * meets both. Cases: prefill of 512, decode of one sequence, decode of 8 of different lengths. With --out FILE the samples
 * and conditions are stored as JSON. (llama.cpp needs its own file of the model: `tinymoe bench --llama-bench`.)
 */
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { writeAtomically } from '../../src/checkpoint/save.ts'
import { table } from '../../src/cli/output.ts'
import { gitCommit, loadAverage } from '../conditions.ts'
import { lastLine, runCommand } from '../processes.ts'
import { summarize } from '../statistics.ts'
import { ChosenRow, ModelOutput } from './output.ts'

/** The last line of both scripts. */
const Side = ModelOutput.extend({ rows: z.array(ChosenRow) })

/** What is measured, as flags of both scripts. */
const CASES = [
  ['--prefill', '512', '--decode', '64', '--batch', '1'],
  ['--prefill', '0', '--decode', '32', '--batch', '8'],
]

const USAGE =
  'usage: npx tsx bench/peers/alternate.ts --model DIR [--threads N] [--python PATH] [--rounds N] [--samples N] [--out FILE]'

type Merged = ChosenRow & { library: string }

/** One process's rows, or null with its words on stderr. */
async function turn(command: string, args: string[]): Promise<z.infer<typeof Side> | null> {
  process.stderr.write(`${[command, ...args].join(' ')}\n`)
  const { code, stdout, stderr, failure } = await runCommand(command, args, new AbortController().signal)
  try {
    return Side.parse(JSON.parse(lastLine(stdout)))
  } catch {
    const words = lastLine(stdout) || lastLine(stderr)
    console.error(`error: ${command} ${failure ?? `ended with code ${code}`} (${words})`)
    return null
  }
}

/** Share of sequences whose tokens are all the same: rounding may part two greedy texts, and they stay apart. */
function sameTokens(a: number[][], b: number[][]): number {
  const same = a[0].map((_, sequence) => a.every((call, i) => call[sequence] === b[i][sequence]))
  return same.filter(Boolean).length / same.length
}

function reportRows(merged: Merged[]) {
  return merged
    .toSorted((a, b) => b.kind.localeCompare(a.kind) || a.batch - b.batch)
    .map(({ chosen, ...facts }) => {
      const ours = merged.find(
        ({ library, kind, batch }) => library === 'tinymoe' && kind === facts.kind && batch === facts.batch,
      )
      const same = ours ? sameTokens(chosen, ours.chosen) : null
      return { ...facts, ...summarize(facts.samplesMs), sameTokens: same }
    })
}

function printed(rows: ReturnType<typeof reportRows>): string {
  const cells = rows.map((row) => [
    `${row.kind}, batch ${row.batch}`,
    `${row.library} ${row.implementation}`,
    ...[row.medianMs, row.p10Ms, row.p90Ms].map((ms) => ms.toFixed(1)),
    String(row.n),
    ((row.tokens * 1000) / row.medianMs).toFixed(1),
    row.sameTokens === null ? '' : `${Math.round(100 * row.sameTokens)} %`,
  ])
  const header = ['case', 'engine', 'median ms', 'p10', 'p90', 'n', 'tokens/s', 'same texts']
  return table([header, ...cells], [0, 1])
}

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    threads: { type: 'string', default: String(cpus().length) },
    python: { type: 'string', default: process.env.PYTHON || 'python3' },
    rounds: { type: 'string', default: '3' },
    samples: { type: 'string', default: '2' },
    out: { type: 'string' },
  },
})
const { model, threads, samples, rounds, out } = values
if (!model) {
  console.error(USAGE)
  process.exit(2)
}
const here = import.meta.dirname
const sides = [
  { command: process.execPath, script: ['--import', 'tsx', join(here, 'whole-model.ts')] },
  { command: values.python, script: [join(here, 'whole_model.py')] },
]
const date = new Date().toISOString()
const loadAverageBefore = loadAverage()
const versions: Record<string, Record<string, string>> = {}
const merged = new Map<string, Merged>()
for (let round = 0; round < Number(rounds); round++) {
  for (const { command, script } of sides) {
    for (const flags of CASES) {
      const common = ['--model', model, '--threads', threads, '--samples', samples, '--json']
      const side = await turn(command, [...script, ...common, ...flags])
      if (!side) process.exit(1)
      versions[side.library] = side.versions
      for (const row of side.rows) {
        const key = [side.library, row.implementation, row.kind, row.batch].join()
        const known = merged.get(key)
        if (known) known.samplesMs.push(...row.samplesMs)
        else merged.set(key, { library: side.library, ...row })
      }
    }
  }
}
const rows = reportRows([...merged.values()])
const conditions = {
  date,
  model,
  threads: Number(threads),
  processor: cpus()[0]?.model ?? null,
  loadAverageBefore,
  commit: await gitCommit(),
  versions,
}
if (out) writeAtomically(out, `${JSON.stringify({ ...conditions, rows }, null, 1)}\n`)
process.stdout.write(printed(rows))
console.log(
  `${model}, ${threads} threads, load ${loadAverageBefore} before the start; ${JSON.stringify(versions)}`,
)
