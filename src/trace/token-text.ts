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
