import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { CheckpointError } from '../../src/errors.ts'
import { javascriptLibrary } from '../../src/tokenizer/javascript.ts'
import { servingLibrary } from '../../src/tokenizer/load.ts'
import { openTokenizer } from '../../src/tokenizer/open.ts'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts'

interface Case {
  name: string
  tokenizer: Record<string, unknown>
  encode: { text: string; ids: number[] }[]
  decode: { ids: number[]; text: string }[]
}

// From other people's trouble; ids and texts by the reference library (tokenizers 0.23.3, Tokenizer.from_str(...).encode).
const CASES: Case[] = JSON.parse(
  readFileSync(fileURLToPath(new URL('../fixtures/tokenizer/cases.json', import.meta.url)), 'utf8'),
)

async function expectRight(tokenizer: Tokenizer, { encode, decode }: Case): Promise<void> {
  for (const { text, ids } of encode) expect(await tokenizer.encode(text), text).toEqual(ids)
  for (const { ids, text } of decode) expect(await tokenizer.decode(ids), String(ids)).toBe(text)
}

describe('the reference library', () => {
  test.each(CASES)('$name', async (given) => {
    await expectRight(openTokenizer(given.tokenizer, { library: servingLibrary() }), given)
  })
})

/** What the JavaScript library would not follow, by case; the others it reads. */
const REFUSED: Record<string, string> = {
  'unigram-byte-fallback': 'model Unigram',
  'replace-caret': 'normalizer Replace with pattern {"Regex":"^"}',
  'added-single-word': 'added token "<w>" with single_word true',
  'added-strip': 'added token "<m>" with lstrip true',
  'whitespace-unicode': 'pre_tokenizer Whitespace',
  'split-Removed': 'pre_tokenizer Split with behavior "Removed"',
  'split-MergedWithPrevious': 'pre_tokenizer Split with behavior "MergedWithPrevious"',
  'punctuation-Isolated': 'pre_tokenizer Punctuation',
  'punctuation-MergedWithPrevious': 'pre_tokenizer Punctuation',
  'metaspace-always': 'pre_tokenizer Metaspace',
  'metaspace-first-unsplit': 'pre_tokenizer Metaspace',
  'metaspace-never': 'pre_tokenizer Metaspace',
  'wordlevel-unknown': 'model WordLevel',
  'bpe-continuing-prefix': 'model BPE with continuing_subword_prefix "##"',
  'normalizer-Lowercase': 'normalizer Lowercase',
  'bytelevel-prefix-space': 'pre_tokenizer ByteLevel with add_prefix_space true',
}

describe('the JavaScript library', () => {
  test.each(CASES)('$name', async (given) => {
    const open = () => openTokenizer(given.tokenizer, { library: javascriptLibrary })
    const refused = REFUSED[given.name]
    if (refused) {
      expect(open).toThrow(
        new CheckpointError(`tokenizer.json: ${refused} is not supported by @huggingface/tokenizers 0.2`),
      )
    } else await expectRight(open(), given)
  })
})
