import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CheckpointError } from '../../src/errors.ts'
import { javascriptLibrary } from '../../src/tokenizer/javascript.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import { openTokenizer } from '../../src/tokenizer/open.ts'
import { referenceLibrary } from '../../src/tokenizer/reference.ts'
import type { Tokenizer, TokenizerLibrary } from '../../src/tokenizer/tokenizer.ts'
import { tokenizerDir } from '../generate/fixtures.ts'

interface Golden {
  encodings: { text: string; ids: number[]; ids_no_special: number[] }[]
  decodings: { ids: number[]; text: string; text_skip_special: string }[]
}

const reference = referenceLibrary()
if ('problem' in reference) throw new Error(reference.problem)
const LIBRARIES: TokenizerLibrary[] = [reference, javascriptLibrary]

/** The JavaScript library does not take a token that takes white space along. */
async function loadWithoutStripping(dir: string, library: TokenizerLibrary): Promise<Tokenizer> {
  await expect(loadTokenizer(dir, library)).rejects.toThrow(
    /added token "<\|end\|>" with rstrip true is not supported by/,
  )
  const json = JSON.parse(readFileSync(join(dir, 'tokenizer.json'), 'utf8'))
  for (const token of json.added_tokens) token.rstrip = false
  return openTokenizer(json, { library })
}

// golden.json: written by the Rust library, tokenizers 0.23.3
describe.each(
  ['', 'gpt2_style', 'spm_style'].flatMap((style) => LIBRARIES.map((library) => ({ style, library }))),
)('tokenizer fixture "$style" by $library.name', async ({ style, library }) => {
  const read = style === 'spm_style' && library === javascriptLibrary ? loadWithoutStripping : loadTokenizer
  const tokenizer = (await read(tokenizerDir(style), library))!
  const golden: Golden = JSON.parse(readFileSync(join(tokenizerDir(style), 'golden.json'), 'utf8'))

  const isStripped = (text: string) => read === loadWithoutStripping && /<\|end\|>\s/.test(text)

  test.each(golden.encodings.filter(({ text }) => !isStripped(text)))(
    'encodes $text',
    async ({ text, ids, ids_no_special }) => {
      expect(await tokenizer.encode(text)).toEqual(ids)
      expect(await tokenizer.encode(text, { addSpecialTokens: false })).toEqual(ids_no_special)
    },
  )

  test.each(golden.decodings)('decodes $ids', async ({ ids, text, text_skip_special }) => {
    expect(await tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(text)
    expect(await tokenizer.decode(ids)).toBe(text_skip_special)
  })
})

test('special ids are the marks, not the words that were added', async () => {
  const tokenizer = (await loadTokenizer(tokenizerDir('')))!
  expect([...tokenizer.specialIds]).toEqual([0, 1, 2, 3, 4]) // 510 and 511 are added but not special
})

test('ids outside the vocabulary give no text', async () => {
  const tokenizer = (await loadTokenizer(tokenizerDir('spm_style')))!
  const x = await tokenizer.encode('x', { addSpecialTokens: false })
  expect(await tokenizer.decode([...x, 999_999])).toBe('x')
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
    expect(await (await loadTokenizer(dir))?.encode('Hello, world!')).toContain(1)
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

test.each(LIBRARIES)(
  'tokens that stand in tokenizer_config.json alone are tokens ($name)',
  async (library) => {
    const tokenizer = (await loadTokenizer(tokenizerDir('config_only'), library))!
    const ids = await tokenizer.encode('<|im_start|>user\nHi<|im_end|>', { addSpecialTokens: false })
    expect([ids[0], ids.at(-1)]).toEqual([1000, 1001])
    expect(ids.filter((id) => id >= 1000)).toEqual([1000, 1001])
    const text = (id: number) => tokenizer.decode([id], { skipSpecialTokens: false })
    expect([await text(1000), await text(1001)]).toEqual(['<|im_start|>', '<|im_end|>'])
  },
)

test('files at which the reference library would end the process are refused', async () => {
  const json = JSON.parse(readFileSync(join(tokenizerDir('gpt2_style'), 'tokenizer.json'), 'utf8'))
  const refused = (parts: object) =>
    expect(() => openTokenizer({ ...json, ...parts }, { library: reference })).toThrow(CheckpointError)
  const template = { type: 'TemplateProcessing', pair: [], special_tokens: {} }
  const single = [{ Sequence: { id: 'A', type_id: 0 } }]
  refused({ pre_tokenizer: { type: 'FixedLength', length: 0 } })
  refused({ normalizer: { type: 'Precompiled', precompiled_charsmap: '////f38AAAAA' } })
  refused({ decoder: { type: 'Sequence', decoders: [{ type: 'Strip', content: ' ', start: 0, stop: 1 }] } })
  refused({
    post_processor: { ...template, single: [{ SpecialToken: { id: '<zz>', type_id: 0 } }, ...single] },
  })
  refused({ post_processor: { ...template, single: [{ Sequence: { id: 'B', type_id: 0 } }] } })
  refused({
    post_processor: {
      type: 'Sequence',
      processors: [
        { ...template, single },
        { ...template, single },
      ],
    },
  })
  refused({
    normalizer: { type: 'Replace', pattern: { Regex: '^' }, content: 'x' },
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  })
  refused({
    model: {
      ...json.model,
      continuing_subword_prefix: '####',
      vocab: { a: 0, b: 1, ab: 2 },
      merges: [['a', 'b']],
    },
  })
  refused({
    normalizer: { type: 'Replace', pattern: { Regex: '\\w+' }, content: '' },
    added_tokens: [
      {
        id: 0,
        content: 'word',
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: true,
        special: false,
      },
    ],
  })
})
