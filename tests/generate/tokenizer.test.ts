import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CheckpointError } from '../../src/errors.ts'
import { loadTokenizer } from '../../src/generate/tokenizer.ts'
import { tokenizerDir } from './fixtures.ts'

interface Golden {
  encodings: { text: string; ids: number[]; ids_no_special: number[] }[]
  decodings: { ids: number[]; text: string; text_skip_special: string }[]
}

// golden.json: written by the Rust library, tokenizers 0.23.3
describe.each(['', 'gpt2_style', 'spm_style'])('tokenizer fixture %j', async (style) => {
  const tokenizer = (await loadTokenizer(tokenizerDir(style)))!
  const golden: Golden = JSON.parse(readFileSync(join(tokenizerDir(style), 'golden.json'), 'utf8'))

  test.each(golden.encodings)('encodes $text', ({ text, ids, ids_no_special }) => {
    expect(tokenizer.encode(text)).toEqual(ids)
    expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(ids_no_special)
  })

  test.each(golden.decodings)('decodes $ids', ({ ids, text, text_skip_special }) => {
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(text)
    expect(tokenizer.decode(ids)).toBe(text_skip_special)
  })
})

test('special ids are the marks, not the words that were added', async () => {
  const tokenizer = (await loadTokenizer(tokenizerDir('')))!
  expect([...tokenizer.specialIds]).toEqual([0, 1, 2, 3, 4]) // 510 and 511 are added but not special
})

test('ids outside the vocabulary give no text', async () => {
  const tokenizer = (await loadTokenizer(tokenizerDir('spm_style')))!
  const x = tokenizer.encode('x', { addSpecialTokens: false })
  expect(tokenizer.decode([...x, 999_999])).toBe('x')
})

describe('loadTokenizer', () => {
  let dir: string
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tinymoe-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  test('gives null where there is none, and needs no tokenizer_config.json', async () => {
    expect(await loadTokenizer(dir)).toBeNull()
    writeFileSync(
      join(dir, 'tokenizer.json'),
      readFileSync(join(tokenizerDir('gpt2_style'), 'tokenizer.json')),
    )
    expect((await loadTokenizer(dir))?.encode('Hello, world!')).toContain(1)
  })

  test.each([
    ['{"model": ', /tokenizer\.json: not JSON \(.+\)$/],
    ['[1]', /tokenizer\.json: is \[1\], expected a JSON object$/],
    ['{}', /tokenizer\.json: has no "model" with a "vocab", expected a tokenizer/],
    [
      '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "Odd"}}',
      /tokenizer\.json: cannot be used as a tokenizer \(.+\)$/,
    ],
  ])('%s is a CheckpointError of one sentence', async (content, message) => {
    writeFileSync(join(dir, 'tokenizer.json'), content)
    const loading = loadTokenizer(dir)
    await expect(loading).rejects.toThrow(CheckpointError)
    await expect(loading).rejects.toThrow(message)
  })

  test('a broken tokenizer_config.json is named', async () => {
    writeFileSync(join(dir, 'tokenizer.json'), '{}')
    writeFileSync(join(dir, 'tokenizer_config.json'), 'no')
    await expect(loadTokenizer(dir)).rejects.toThrow(/tokenizer_config\.json: not JSON/)
  })
})
