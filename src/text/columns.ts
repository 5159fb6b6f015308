import { escaped } from './foreign.ts'

// East Asian wide and fullwidth blocks (Unicode UAX 11) and what is shown as a picture.
const WIDE =
  /^(?:[\u1100-\u115F\u2E80-\u303E\u3041-\u33FF\u3400-\u4DBF\u4E00-\u9FFF\uA000-\uA4CF\uA960-\uA97F\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{20000}-\u{3FFFD}]|\p{Emoji_Presentation}|\p{Emoji}\uFE0F)/u

const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Columns that a text takes in a terminal: two for a wide character, none for a mark on the one before. */
export function displayWidth(text: string): number {
  let width = 0
  for (const { segment } of GRAPHEMES.segment(text)) width += graphemeWidth(segment)
  return width
}

/** The text in exactly `width` columns: filled up with spaces, or cut with an ellipsis. */
export function fitted(text: string, width: number): string {
  const whole = displayWidth(text)
  if (whole <= width) return text + ' '.repeat(width - whole)
  const cut = text.slice(0, fittingLength(text, width - 1))
  return `${cut}…${' '.repeat(width - 1 - displayWidth(cut))}`
}

/** Length of the longest beginning of a text that takes at most so many columns; no character is cut in two. */
export function fittingLength(text: string, width: number): number {
  let used = 0
  for (const { segment, index } of GRAPHEMES.segment(text)) {
    used += graphemeWidth(segment)
    if (used > width) return index
  }
  return text.length
}

function graphemeWidth(grapheme: string): number {
  if (WIDE.test(grapheme)) return 2
  return /^[\p{Mn}\p{Me}]/u.test(grapheme) ? 0 : 1
}

/** Words on lines of at most `width` columns, where no word is longer than that; colours take no columns. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = []
  let used = Number.POSITIVE_INFINITY
  for (const word of text.split(' ')) {
    const own = displayWidth(word.replace(/\x1b\[[\d;]*m/g, ''))
    if (used + 1 + own <= width) {
      lines[lines.length - 1] += ` ${word}`
      used += 1 + own
    } else {
      lines.push(word)
      used = own
    }
  }
  return lines
}

/** Rows as lines of aligned columns, two spaces apart; columns in `left` are left-aligned, the others right. */
export function alignedLines(rows: readonly string[][], left: readonly number[] = []): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => displayWidth(row[column]))))
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const space = ' '.repeat(widths[column] - displayWidth(cell))
        return left.includes(column) ? cell + space : space + cell
      })
      .join('  ')
      .trimEnd(),
  )
}

/** The same as text; the first row is the heading. */
export function table(rows: readonly string[][], left: readonly number[] = []): string {
  const safe = rows.map((row) => row.map(escaped)) // cells may come from files
  return alignedLines(safe, left)
    .map((line) => `${line}\n`)
    .join('')
}

/** Rows as a table of Markdown, the first the heading; columns but the first hold numbers, unless they hold `words`. */
export function markdownTable([heading, ...rows]: readonly string[][], words = false): string {
  const rule = heading.map((_, i) => (i === 0 || words ? '---' : '---:'))
  return [heading, rule, ...rows]
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n')
}
