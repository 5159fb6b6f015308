import { markdownTable } from '../../src/text/columns.ts'
import type { BenchReport } from '../schema.ts'
import { conditionLines, methodLines } from './conditions.ts'
import { remarks } from './remarks.ts'
import { cellsOf, type Section, saidOf } from './section.ts'
import { everyRow, leftOut, sections } from './tables.ts'

/** The stored report for people: conclusion, remarks, tables, conditions, every row. */
export function markdown(report: BenchReport): string {
  const missing = leftOut(report)
  return [
    `# Bench on ${report.conditions.runtime.deviceName ?? report.conditions.runtime.device}\n`,
    `${report.conclusion}\n`,
    ...list(remarks(report)),
    ...sections(report).map(markdownSection),
    '## Conditions\n',
    ...list([...conditionLines(report), ...methodLines(report)]),
    markdownSection(everyRow(report)),
    ...(missing.rows.length > 0 ? [markdownSection(missing)] : []),
    'docs/bench.md says how to read this and how it was measured.\n',
  ].join('\n')
}

function list(lines: string[]): string[] {
  return lines.length > 0 ? [lines.map((line) => `- ${line}\n`).join('')] : []
}

function markdownSection(section: Section): string {
  const { title, words } = section
  const said = saidOf(section)
  const table = markdownTable(cellsOf(section), words)
  return `${[`## ${title}`, ...(said ? [said] : []), table].join('\n\n')}\n`
}
