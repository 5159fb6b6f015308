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

const NAMED_ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/**
 * A text on one line, in quotes, with nothing in it that a terminal obeys or does not show: controls, escape sequences,
 * marks that turn the direction of text, lone surrogates, and spaces other than the plain one become escapes.
 */
export function quoted(text: string): string {
  const shown = text
    .replace(/["\\]/g, '\\$&')
    .replace(
      /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu,
      (c) => NAMED_ESCAPES[c] ?? `\\u{${c.codePointAt(0)?.toString(16)}}`,
    )
  return `"${shown}"`
}
