import { type Cells, remarks, sections } from './table.ts'
import type { BenchReport } from './types.ts'

/** The stored report for people: conclusion, tables, conditions. */
export function markdown(report: BenchReport): string {
  const tables = sections(report).map(
    ({ title, cells }) => `${title.replace('\n', '\n\n')}\n\n${markdownTable(cells)}\n`,
  )
  const notes = remarks(report).map((remark) => `- ${remark}\n`)
  return [
    `# Bench on ${report.conditions.runtime.deviceName ?? report.conditions.runtime.device}\n`,
    `${report.conclusion}\n`,
    ...tables,
    ...(notes.length > 0 ? [notes.join('')] : []),
    `## Conditions\n`,
    `${conditionLines(report)
      .map((line) => `- ${line}`)
      .join('\n')}\n`,
    'docs/bench.md says how to read this and how it was measured.\n',
  ].join('\n')
}

/** What the numbers hold for, a line each. Unknown is said to be unknown. */
export function conditionLines({ conditions, date, seconds, rows, tracing, peers }: BenchReport): string[] {
  const { runtime, machine } = conditions
  const known = (value: unknown) => value ?? 'unknown'
  const reads = rows.flatMap(({ readMs }) => (readMs === null ? [] : [readMs]))
  const versions = Object.entries(peers?.report?.versions ?? {}).map(
    ([name, version]) => `${name} ${version}`,
  )
  return [
    `device: ${runtime.device}, ${known(runtime.deviceName)} (${runtime.reason}); backend ${runtime.backend}, ${runtime.threads} threads, ${runtime.platform}`,
    `versions: TensorFlow ${runtime.tensorflowVersion ?? 'not used'}, tfjs ${runtime.tfjsVersion}, Node ${runtime.nodeVersion}; driver ${runtime.driver ?? 'none'}`,
    `machine: ${machine.matmulGflops.toFixed(1)} GFLOP/s in a ${machine.matmulSize}-square matrix product, ${machine.memoryGbPerS.toFixed(1)} GB/s read from memory, load average before ${known(conditions.loadAverage)}`,
    `weights and arithmetic ${conditions.dtype}; seed ${conditions.seed}; commit ${known(conditions.commit)}`,
    `${date}, ${seconds.toFixed(0)} s in all, ${(conditions.budgetMsPerCase / 1000).toFixed(1)} s a case${conditions.quick ? ' (quick: expect noise)' : ''}`,
    ...(reads.length > 0
      ? [
          `each call ends by reading its result: ${Math.min(...reads).toFixed(3)} to ${Math.max(...reads).toFixed(3)} ms, included`,
        ]
      : []),
    ...(tracing
      ? [
          `tracing, ms a decoded token: ${tracing.absentMs.toFixed(2)} not asked for, ${tracing.offMs.toFixed(2)} off, ${tracing.onMs.toFixed(2)} on (medians of ${tracing.n})`,
        ]
      : []),
    ...(versions.length > 0 ? [`peers: ${versions.join(', ')}, ${peers?.report?.threads} threads`] : []),
  ]
}

function markdownTable(cells: Cells): string {
  const [header, ...rows] = cells
  const line = (row: string[]) => `| ${row.join(' | ')} |`
  return [line(header), line(header.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}
