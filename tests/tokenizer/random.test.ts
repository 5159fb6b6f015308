import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Comparison } from './compare.ts'

const FILES = Number(process.env.TINYMOE_TOKENIZER_FILES ?? 300)

/** Every part of the format, and every value of a setting that has few. */
const FORMAT: Record<string, string[]> = {
  model: ['BPE', 'Unigram', 'WordLevel', 'WordPiece'],
  normalizer: [
    ...['BertNormalizer', 'ByteLevel', 'Lowercase', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Nmt', 'Precompiled'],
    ...['Prepend', 'Replace', 'Sequence', 'Strip', 'StripAccents'],
  ],
  pre_tokenizer: [
    ...['BertPreTokenizer', 'ByteLevel', 'CharDelimiterSplit', 'Digits', 'FixedLength', 'Metaspace'],
    ...['Punctuation', 'Sequence', 'Split', 'UnicodeScripts', 'Whitespace', 'WhitespaceSplit'],
  ],
  post_processor: ['BertProcessing', 'ByteLevel', 'RobertaProcessing', 'Sequence', 'TemplateProcessing'],
  decoder: [
    ...['BPEDecoder', 'ByteFallback', 'ByteLevel', 'CTC', 'Fuse', 'Metaspace', 'Replace', 'Sequence'],
    ...['Strip', 'WordPiece'],
  ],
}
const FLAGS = [
  ...['lstrip', 'normalized', 'rstrip', 'single_word', 'special'].map((flag) => `added_tokens.${flag}`),
  ...['byte_fallback', 'fuse_unk', 'ignore_merges'].map((flag) => `model BPE.${flag}`),
  'model Unigram.byte_fallback',
  ...['clean_text', 'handle_chinese_chars', 'lowercase'].map((flag) => `normalizer BertNormalizer.${flag}`),
  ...['strip_left', 'strip_right'].map((flag) => `normalizer Strip.${flag}`),
  ...['add_prefix_space', 'trim_offsets', 'use_regex'].map((flag) => `pre_tokenizer ByteLevel.${flag}`),
  ...[
    'pre_tokenizer Digits.individual_digits',
    'pre_tokenizer Metaspace.split',
    'pre_tokenizer Split.invert',
  ],
  ...['decoder CTC.cleanup', 'decoder Metaspace.split', 'decoder WordPiece.cleanup'],
]
const BEHAVIORS = ['Contiguous', 'Isolated', 'MergedWithNext', 'MergedWithPrevious', 'Removed']
const SCHEMES = ['always', 'first', 'never']

test(`both libraries read ${FILES} random files alike, or the JavaScript one refuses`, () => {
  const script = fileURLToPath(new URL('compare.ts', import.meta.url))
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', script, String(FILES), '1'],
    { encoding: 'utf8', maxBuffer: 1e9 },
  )
  expect({ status, signal, last: stderr.slice(-2000) }).toMatchObject({ status: 0, signal: null })
  const { files, equal, refused, rejected, different, coverage }: Comparison = JSON.parse(stdout)
  const refusals = Object.values(refused).reduce((sum, count) => sum + count, 0)
  console.log(
    `${files} files: ${equal} read alike, ${refusals} refused by the JavaScript library, ${rejected} by both`,
  )
  for (const [setting, values] of Object.entries(coverage))
    console.log(`${setting}: ${values.join(' ').slice(0, 200)}`)

  expect(different).toEqual([])
  expect(equal).toBeGreaterThan(FILES / 3)
  for (const [field, types] of Object.entries(FORMAT)) {
    const seen = Object.keys(coverage).flatMap((name) =>
      name.startsWith(`${field} `) ? [name.split(/[ .]/)[1]] : [],
    )
    expect([...new Set(seen)].sort(), field).toEqual(types)
  }
  for (const flag of FLAGS) expect(coverage[flag], flag).toEqual(['false', 'true'])
  for (const part of ['Punctuation', 'Split'])
    expect(coverage[`pre_tokenizer ${part}.behavior`]).toEqual(BEHAVIORS.map((value) => `"${value}"`))
  for (const part of ['pre_tokenizer', 'decoder'])
    expect(coverage[`${part} Metaspace.prepend_scheme`]).toEqual(SCHEMES.map((value) => `"${value}"`))
})
