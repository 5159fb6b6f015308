import type { TraceRow } from '../model/trace.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

/**
 * What each token of a trace stands for. A token is read after the one before it, since tokenizers drop the space at the
 * beginning of a text; a token that is part of a character reads as U+FFFD.
 */
export function tokenTexts(rows: readonly TraceRow[], tokenizer: Tokenizer): Promise<string[]> {
  const read = (...tokens: number[]) => tokenizer.decode(tokens, { skipSpecialTokens: false })
  return Promise.all(
    rows.map(async ({ token, sequence }, t) => {
      const previous = rows[t - 1]
      if (previous?.sequence !== sequence) return read(token)
      const [before, both] = await Promise.all([read(previous.token), read(previous.token, token)])
      return both.startsWith(before) && !before.endsWith('\uFFFD') ? both.slice(before.length) : read(token)
    }),
  )
}

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
  let cut = ''
  let used = 0
  for (const { segment } of GRAPHEMES.segment(text)) {
    const next = graphemeWidth(segment)
    if (used + next > width - 1) break
    cut += segment
    used += next
  }
  return `${cut}…${' '.repeat(width - 1 - used)}`
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
