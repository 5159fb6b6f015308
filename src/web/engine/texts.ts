import type { Tokenizer } from '../../tokenizer/tokenizer.ts'
import { tokenTexts } from '../../trace/token-text.ts'

/** What each token of one text stands for; its number without a tokenizer. */
export async function textsOf(tokens: readonly number[], tokenizer: Tokenizer | null): Promise<string[]> {
  if (!tokenizer) return tokens.map((token) => `#${token}`)
  return tokenTexts(
    tokens.map((token, position) => ({ sequence: 0, position, token })),
    tokenizer,
  )
}
