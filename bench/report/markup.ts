import { escapeXml } from '../../src/trace/picture.ts'
import type { Cells } from './tables.ts'

/** A table whose first row is its heading and whose first column names the rows; of numbers, or of words. */
export function htmlTable([header, ...rows]: Cells, holds: 'numbers' | 'words' = 'numbers'): string {
  const head = header.map((cell) => `<th scope="col">${escapeXml(cell)}</th>`).join('')
  const body = rows.map(([name, ...cells]) => {
    return `<tr><th scope="row">${escapeXml(name)}</th>${cells.map((cell) => `<td>${escapeXml(cell)}</td>`).join('')}</tr>`
  })
  return `<div class="wide"><table class="${holds}"><thead><tr>${head}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`
}

/** Shown on demand. */
export function folded(summary: string, content: string): string {
  return `<details><summary>${escapeXml(summary)}</summary>\n${content}\n</details>`
}

/** A list for a sentence: `a`, `a and b`, `a, b and c`. */
export function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}
