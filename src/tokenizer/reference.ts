import { createRequire } from 'node:module'
import type * as Bindings from 'tokenizers'
import { messageOf } from '../errors.ts'
import { shown } from '../text/foreign.ts'
import type { AddedToken, OpenTokenizer, TokenizerJson, TokenizerLibrary } from './tokenizer.ts'

const require = createRequire(import.meta.url)

/** The reference library, in Rust, or why it cannot be loaded on this platform. */
export function referenceLibrary(): TokenizerLibrary | { problem: string } {
  try {
    const bindings: typeof Bindings = require('tokenizers')
    const { version } = require('tokenizers/package.json')
    return { name: `tokenizers ${version}`, unsupported: () => null, open: (json) => open(bindings, json) }
  } catch (error) {
    return { problem: messageOf(error).split('\n')[0] }
  }
}

function open({ Tokenizer }: typeof Bindings, json: TokenizerJson): OpenTokenizer {
  const inner = Tokenizer.fromString(JSON.stringify(json))
  checkAddedTokens(inner, json)
  return {
    encode: async (text, addSpecialTokens) => (await inner.encode(text, null, { addSpecialTokens })).getIds(),
    decode: (ids, skipSpecialTokens) => inner.decode(ids, skipSpecialTokens),
    tokenOf: (id) => inner.idToToken(id),
  }
}

/** Each is looked for, and known, as the normalizer leaves it. */
function checkAddedTokens(inner: Bindings.Tokenizer, json: TokenizerJson): void {
  const normalizer = inner.getNormalizer()
  for (const { id, content, normalized } of (json.added_tokens ?? []) as AddedToken[]) {
    const found = normalized && normalizer ? normalizer.normalizeString(content) : content
    // It would look for the empty text, and panic where nothing can catch it.
    if (found === '') throw new Error(`the normalizer leaves nothing of the added token ${shown(content)}`)
    const there = inner.idToToken(id)
    if (there !== content && there !== found)
      throw new Error(`id ${id} is ${shown(there)}, expected the added token ${shown(content)}`)
  }
}
