import type { Command } from 'commander'
import { type BenchComparison, type ComparedRow, compareReports } from '../../bench/compare.ts'
import { readReport } from '../../bench/read-report.ts'
import { UsageError } from '../errors.ts'
import { addFlags, allOptions, flags, type Given, type GlobalOptions } from '../script/flags.ts'
import { write } from '../script/output.ts'
import { table } from '../text/columns.ts'

/** Exit code of `--fail-on-slower` when a row is. */
const SLOWER = 3

const FLAGS = flags({ failOnSlower: ['', `exit ${SLOWER} when a row became slower`] })
type Flags = Given<typeof FLAGS> & GlobalOptions

/** `tinymoe bench compare A.json B.json`. */
export function registerBenchCompare(bench: Command): void {
  addFlags(bench.command('compare'), FLAGS)
    .summary('what changed between two reports, beyond noise')
    .description(
      'Compares two reports of tinymoe bench: which rows became faster or slower beyond noise, in what the sessions differ, and whether the work itself changed.',
    )
    .argument('<a>', 'report as JSON, the earlier one')
    .argument('<b>', 'report as JSON, the later one')
    .action(async (a: string, b: string, _: unknown, command: Command) => {
      refuseOptionsOf(bench)
      await compare(a, b, allOptions<Flags>(command))
    })
}

/** The bench's own flags are known here too, and would do nothing. */
function refuseOptionsOf(bench: Command): void {
  const given = bench.options.find((option) => bench.getOptionValueSource(option.attributeName()) === 'cli')
  if (given) throw new UsageError(`${given.long}: bench compare measures nothing, so it has no use for it`)
}

async function compare(fileA: string, fileB: string, { json, failOnSlower }: Flags): Promise<void> {
  const [a, b] = [fileA, fileB].map((file) => ({ file, report: readReport(file) }))
  const comparison = compareReports(a, b)
  await write(json ? `${JSON.stringify(comparison)}\n` : comparisonText(comparison))
  if (failOnSlower && comparison.rows.some(({ verdict }) => verdict === 'slower')) process.exitCode = SLOWER
}

/** The comparison for the terminal, what was found last. */
export function comparisonText(comparison: BenchComparison): string {
  const { a, b, warnings, rule, conclusion } = comparison
  const blocks = [
    table(
      [
        ['', 'file', 'date', 'commit', 'preset'],
        ...[a, b].map(({ file, date, commit, preset }, i) => ['AB'[i], file, date, commit ?? '-', preset]),
      ],
      [0, 1, 2, 3, 4],
    ),
    differencesText(comparison),
    changedText(comparison),
    onlyText('A', comparison.onlyA) + onlyText('B', comparison.onlyB),
    flopsText(comparison),
    warnings.map((warning) => `WARNING: ${warning}\n`).join(''),
    `rule: ${rule}\n`,
    `${conclusion}\n`,
  ]
  return blocks.filter((block) => block !== '').join('\n')
}

function differencesText({ differences }: BenchComparison): string {
  if (differences.length === 0) return 'conditions: the same\n'
  const cell = (value: string | number | null) => (value === null ? 'unknown' : String(value))
  return table(
    [['condition', 'A', 'B'], ...differences.map(({ what, a, b }) => [what, cell(a), cell(b)])],
    [0, 1, 2],
  )
}

/** Rows that changed, the largest change first. */
function changedText({ rows }: BenchComparison): string {
  const changed = rows
    .filter(({ verdict }) => verdict === 'slower' || verdict === 'faster')
    .sort((x, y) => Math.abs(Math.log(y.ratio!)) - Math.abs(Math.log(x.ratio!)))
  if (changed.length === 0) return ''
  return table(
    [['row', 'A ms', 'B ms', 'B/A', 'interval', 'speed-up A', 'B', 'B is'], ...changed.map(cellsOf)],
    [0, 7],
  )
}

function cellsOf(row: ComparedRow): string[] {
  const number = (value: number | null, unit = '') =>
    value === null ? '-' : `${value.toFixed(value < 10 ? 3 : 1)}${unit}`
  return [
    row.id,
    number(row.aMs),
    number(row.bMs),
    number(row.ratio),
    `${number(row.low)}..${number(row.high)}`,
    number(row.speedupA, 'x'),
    number(row.speedupB, 'x'),
    row.verdict,
  ]
}

function onlyText(side: string, ids: string[]): string {
  if (ids.length === 0) return ''
  return `only in ${side} (${ids.length}):\n${ids.map((id) => `  ${id}\n`).join('')}`
}

/** Loud: it is the work that changed, so times are no longer of the same thing. */
function flopsText({ flops }: BenchComparison): string {
  return flops
    .map(
      ({ id, what, a, b }) => `FLOPs CHANGED, ${what}: ${id}: ${a} -> ${b} (${(b / a).toFixed(3)} times)\n`,
    )
    .join('')
}
