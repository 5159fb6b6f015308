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
  const decode = decoderOf(inner, json)
  return {
    encode: async (text, addSpecialTokens) => (await inner.encode(text, null, { addSpecialTokens })).getIds(),
    decode: async (ids, skipSpecialTokens) => decode(ids, skipSpecialTokens),
    tokenOf: (id) => inner.idToToken(id),
  }
}

/**
 * What the library does in a thread of its own, here: going there and back takes a good part of a token's time. Where a token is
 * known by another text than it is written as, only the library has both.
 */
function decoderOf(inner: Bindings.Tokenizer, json: TokenizerJson): OpenTokenizer['decode'] | Decode {
  const [normalizer, decoder] = [inner.getNormalizer(), inner.getDecoder()]
  const added = (json.added_tokens ?? []) as AddedToken[]
  if (normalizer && added.some(({ normalized }) => normalized)) {
    return (ids, skipSpecialTokens) => inner.decode(ids, skipSpecialTokens)
  }
  const special = new Set(added.flatMap((token) => (token.special ? [token.id] : [])))
  return (ids, skipSpecialTokens) => {
    const shown = skipSpecialTokens ? ids.filter((id) => !special.has(id)) : ids
    const tokens = shown.map((id) => inner.idToToken(id) as string)
    return decoder ? decoder.decode(tokens) : tokens.join(' ')
  }
}

type Decode = (ids: number[], skipSpecialTokens: boolean) => string

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
