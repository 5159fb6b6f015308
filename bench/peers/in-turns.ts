import { z } from 'zod'
import { summarize } from '../../src/samples.ts'
import { remark } from '../../src/script/output.ts'
import { table } from '../../src/text/columns.ts'
import { runCommand } from '../processes.ts'
import { ChosenRow, ModelOutput, readOutput } from './output.ts'

/** The last line of whole-model.ts and whole_model.py. */
const Side = ModelOutput.extend({ rows: z.array(ChosenRow) })
type Side = z.infer<typeof Side>

/**
 * Runs `sides` (a command with its first arguments) in turns, each with the flags of every case, `rounds` times.
 * @throws TinymoeError with the words of a side that fails
 */
export async function takeTurns(sides: string[][], cases: string[][], rounds: number) {
  const versions: Record<string, Side['versions']> = {}
  const merged = new Map<string, Merged>()
  for (let round = 0; round < rounds; round++) {
    for (const [command, ...script] of sides) {
      for (const flags of cases) {
        const side = await turn(command, [...script, ...flags])
        versions[side.library] = side.versions
        merge(merged, side)
      }
    }
  }
  return { versions, rows: summarized([...merged.values()]) }
}

type Merged = ChosenRow & { library: string }

/** What one process measured. */
async function turn(command: string, args: string[]): Promise<Side> {
  remark([command, ...args].join(' '))
  return readOutput(command, await runCommand(command, args, { signal: new AbortController().signal }), Side)
}

function merge(merged: Map<string, Merged>, { library, rows }: Side): void {
  for (const row of rows) {
    const key = [library, row.implementation, row.kind, row.batch].join()
    const known = merged.get(key)
    if (known) known.samplesMs.push(...row.samplesMs)
    else merged.set(key, { library, ...row })
  }
}

/** The samples of all rounds, what they come to, and the share of sequences whose tokens are those of tinymoe; null where it has not run the case. */
function summarized(merged: Merged[]) {
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

/** Share of sequences whose tokens are all the same: rounding may part two greedy texts, and they stay apart. */
function sameTokens(a: number[][], b: number[][]): number {
  const same = a[0].map((_, sequence) => a.every((call, i) => call[sequence] === b[i][sequence]))
  return same.filter(Boolean).length / same.length
}

export function turnsTable(rows: ReturnType<typeof summarized>): string {
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
