import { extname, relative } from 'node:path'
import { table, wrapped } from '../../src/text/columns.ts'
import type { BenchReport } from '../schema.ts'
import { conditionLines } from './conditions.ts'
import { remarks } from './remarks.ts'
import type { Section } from './section.ts'
import { sections } from './tables.ts'

/** Columns that text is wrapped to and tables stay in. */
const WIDTH = 120
/** A table with more, such as that of every combination, is for a file. */
const MOST_LINES = 24

/** The report for a terminal, by the executor that conclusions are about, what matters most last. The stored files have all the rest. */
export function terminalReport(report: BenchReport, files: string[]): string {
  const own = report.rows.filter(({ executor }) => executor === report.conditions.executor)
  const notes = remarks(report)
  return [
    ...sections({ ...report, rows: own })
      .reverse()
      .map(printed),
    lines([...conditionLines(report), stored(files)]),
    ...(notes.length > 0 ? [lines(notes)] : []),
    lines([report.conclusion]),
  ].join('\n')
}

function printed({ title, sentence, columns, rows }: Section): string {
  if (rows.length > MOST_LINES) return lines([`${title}: ${rows.length} lines, which the stored files have.`])
  return (
    lines([`${title}. ${sentence}`]) +
    table([columns.map((heading) => heading.replace(/ ms$/, '')), ...rows], [0])
  )
}

function lines(texts: string[]): string {
  return texts.flatMap((text) => wrapped(text, WIDTH).map((line) => `${line}\n`)).join('')
}

/** The files of a report differ in their ends alone. */
function stored(paths: string[]): string {
  const [path = ''] = paths
  const near = relative(process.cwd(), path)
  const stem = (near.startsWith('..') ? path : near).slice(0, -extname(path).length)
  const ends = paths.map((file) => extname(file).slice(1)).join(',')
  return `report: ${stem}.{${ends}}; the page has the pictures, all have every row`
}
