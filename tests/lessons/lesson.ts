import { test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'

declare module 'vitest' {
  interface TaskMeta {
    /** What a lesson told, for docs/lessons.md. */
    told?: string[]
  }
}

/**
 * A test that tells what it shows; a text may hold Markdown. Runs in plain JavaScript, which is there on every machine,
 * or, where a trained model has to read, in WebAssembly, which is too. `--reporter=verbose` prints what was told.
 */
export function lesson(
  title: string,
  story: (tell: (text: string) => void) => void | Promise<void>,
  device: 'js' | 'wasm' = 'js',
): void {
  test(title, async ({ task, annotate }) => {
    await startRuntime({ device })
    const told: string[] = []
    await story((text) => told.push(text))
    task.meta.told = told
    for (const text of told) await annotate(text)
  })
}

/** A Markdown table, aligned so that it reads in a terminal too. */
export function table(heading: string[], rows: (string | number)[][]): string {
  const cells = [heading, ...rows].map((row) => row.map(show))
  const widths = heading.map((_, column) => Math.max(3, ...cells.map((row) => row[column].length)))
  const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  return [line(cells[0]), line(widths.map((width) => '-'.repeat(width))), ...cells.slice(1).map(line)].join(
    '\n',
  )
}

/** A number to four decimals at most, a list with commas. */
export function show(value: string | number | ArrayLike<number>): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' ? String(Number(value.toFixed(4))) : Array.from(value, show).join(', ')
}
