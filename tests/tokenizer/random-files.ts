import fc from 'fast-check'
import { BYTE_CHARACTERS } from '../../src/text/byte-characters.ts'

/** A tokenizer.json as the reference library (tokenizers 0.23) writes it, and what can stand in its parts. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
export type Part = { [name: string]: Json }

/** Characters that tokenizers treat unlike each other: accents, marks, CJK, digits, spaces and line ends of many kinds, controls. */
const CHARACTERS = [
  ...['a', 'b', 'c', 'A', 'É', 'é', 'e', '\u0301', '\u0323', 'ß', 'İ', 'ς', 'Σ', 'ä', 'ö', 'ñ'],
  ...['1', '2', '²', '٣', '½', '!', '?', '.', ',', '-', '_', "'", '#', '<', '>', '$', '¿', '、'],
  ...[
    ' ',
    '\u00a0',
    '\t',
    '\n',
    '\r',
    '\u3000',
    '\u200b',
    '\u00ad',
    '\u0085',
    '\u2028',
    '\ufeff',
    '\u0000',
    '\u0007',
  ],
  ...[
    '日',
    '本',
    '中',
    '㐀',
    'ﬁ',
    'ａ',
    '한',
    'ᄒ',
    'ᅡ',
    'न',
    'ि',
    'ไ',
    '😀',
    '🍣',
    '\u200d',
    '▁',
    'Ġ',
    'Ċ',
    '\uFFFD',
  ],
]
const WORDS = [
  "n't",
  "'s",
  '</w>',
  '<w>',
  '<m>',
  '##',
  '<s>',
  '</s>',
  '<|x|>',
  'don',
  ' .',
  ' ?',
  ' the',
  'é',
  '  ',
  '\r\n',
]
/** Of the byte-level alphabet: bytes of ASCII stand for themselves, others by the characters from U+0100 on. */
const BYTE_LEVEL = ['Ġ', 'Ċ', 'ĉ', 'č', 'Ã', '©', 'ģ', 'ł', 'æ', 'Ĺ', '¥', 'ð', 'Ł', 'ĺ', 'Ģ', 'Â', '²']
const BYTE_TOKENS = [
  '<0x09>',
  '<0x0A>',
  '<0x20>',
  '<0x61>',
  '<0xC3>',
  '<0xA9>',
  '<0xF0>',
  '<0x9F>',
  '<0x98>',
  '<0x80>',
  '<0xE6>',
  '<0x97>',
  '<0xA5>',
]

const character = fc.constantFrom(...CHARACTERS)
const word = fc.constantFrom(...WORDS)
const flag = fc.boolean()

export const text = fc
  .array(fc.oneof({ weight: 6, arbitrary: character }, { weight: 2, arbitrary: word }, fc.constant(' ')), {
    maxLength: 14,
  })
  .map((pieces) => pieces.join(''))

/** An object with the given fields. */
const part = (type: string, fields: Record<string, fc.Arbitrary<Json>> = {}): fc.Arbitrary<Part> =>
  fc.record({ type: fc.constant<Json>(type), ...fields }) as fc.Arbitrary<Part>

const literal = fc.constantFrom(' ', 'a', 'é', '▁', '.', '!', '  ', "'", '\n', 'ab', '日')
const textPattern = literal.map((found): Json => ({ String: found }))
const pattern: fc.Arbitrary<Json> = fc.oneof(
  textPattern,
  fc
    .constantFrom(
      ' ',
      '\\s',
      '\\s+',
      '\\w+',
      '\\d',
      '\\d{1,3}',
      '\\p{L}+',
      '\\p{N}{1,3}',
      '[^\\s\\p{L}\\p{N}]+',
      '^',
      '$',
      ' {2,}',
      '[\\r\\n]',
      '\\s*[\\r\\n]+',
      '(?i:A|É)',
      '.',
      '\\s+(?!\\S)|\\s+',
      "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
      '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
    )
    .map((Regex) => ({ Regex })),
)
const behavior = fc.constantFrom('Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous')
const prependScheme = fc.constantFrom('first', 'never', 'always')
const replacement = fc.constantFrom('▁', '▁', '_')

/** Of sentencepiece's: a trie of 256 empty units, which changes nothing, and no texts. */
const EMPTY_CHARSMAP = Buffer.concat([
  Buffer.from([0, 4, 0, 0]),
  Buffer.alloc(1024),
  Buffer.from('\0'),
]).toString('base64')

const simpleNormalizers: fc.Arbitrary<Part>[] = [
  part('BertNormalizer', {
    clean_text: flag,
    handle_chinese_chars: flag,
    strip_accents: fc.constantFrom<Json>(null, true, false),
    lowercase: flag,
  }),
  part('Strip', { strip_left: flag, strip_right: flag }),
  ...['StripAccents', 'NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'Nmt', 'ByteLevel'].map((type) =>
    part(type),
  ),
  part('Replace', { pattern, content: fc.constantFrom('', ' ', '▁', 'x', 'é', '$1') }),
  part('Prepend', { prepend: fc.constantFrom('▁', ' ', 'a') }),
  part('Precompiled', { precompiled_charsmap: fc.constant(EMPTY_CHARSMAP) }),
]
const simplePreTokenizers: fc.Arbitrary<Part>[] = [
  ...['BertPreTokenizer', 'Whitespace', 'WhitespaceSplit', 'UnicodeScripts'].map((type) => part(type)),
  part('ByteLevel', { add_prefix_space: flag, trim_offsets: flag, use_regex: flag }),
  part('CharDelimiterSplit', { delimiter: fc.constantFrom(' ', '-', 'é') }),
  part('Metaspace', { replacement, prepend_scheme: prependScheme, split: flag }),
  part('Split', { pattern, behavior, invert: flag }),
  part('Punctuation', { behavior }),
  part('Digits', { individual_digits: flag }),
  part('FixedLength', { length: fc.integer({ min: 1, max: 4 }) }),
]
const simpleDecoders: fc.Arbitrary<Part>[] = [
  part('BPEDecoder', { suffix: fc.constantFrom('</w>', '') }),
  part('ByteLevel', { add_prefix_space: flag, trim_offsets: flag, use_regex: flag }),
  part('WordPiece', { prefix: fc.constant('##'), cleanup: flag }),
  part('Metaspace', { replacement, prepend_scheme: prependScheme, split: flag }),
  part('CTC', {
    pad_token: fc.constantFrom('<s>', 'a'),
    word_delimiter_token: fc.constantFrom('|', '▁'),
    cleanup: flag,
  }),
  part('Replace', { pattern, content: fc.constantFrom('', ' ', '▁', 'x') }),
  part('Fuse'),
  part('Strip', { content: fc.constantFrom(' ', 'a', '▁'), start: fc.nat(2), stop: fc.nat(2) }),
  part('ByteFallback'),
]

const sequence = (field: string, of: fc.Arbitrary<Part>[]) =>
  fc
    .array(fc.oneof(...of), { minLength: 0, maxLength: 3 })
    .map((parts): Part => ({ type: 'Sequence', [field]: parts }))

const optional = (of: fc.Arbitrary<Part>[], field: string): fc.Arbitrary<Part | null> =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant(null) },
    { weight: 5, arbitrary: fc.oneof(...of) },
    { weight: 2, arbitrary: sequence(field, of) },
  )

const SPECIAL = ['<s>', '</s>', '<unk>'] as const

const templatePiece = (sequences: string[]) =>
  fc.oneof(
    fc.constantFrom(...sequences).map((id): Json => ({ Sequence: { id, type_id: 0 } })),
    fc.constantFrom('<s>', '</s>').map((id): Json => ({ SpecialToken: { id, type_id: 0 } })),
  )

const postProcessors = (ids: Record<string, number>): fc.Arbitrary<Part>[] => {
  const pair = (token: string): fc.Arbitrary<Json> => fc.constant([token, ids[token]])
  return [
    part('BertProcessing', { sep: pair('</s>'), cls: pair('<s>') }),
    part('RobertaProcessing', {
      sep: pair('</s>'),
      cls: pair('<s>'),
      trim_offsets: flag,
      add_prefix_space: flag,
    }),
    part('ByteLevel', { add_prefix_space: flag, trim_offsets: flag, use_regex: flag }),
    fc.array(templatePiece(['A']), { maxLength: 4 }).map(
      (extra): Part => ({
        type: 'TemplateProcessing',
        single: [
          ...extra.filter((piece) => 'SpecialToken' in (piece as Part)),
          { Sequence: { id: 'A', type_id: 0 } },
          ...extra.slice(2).filter((piece) => 'SpecialToken' in (piece as Part)),
        ],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: Object.fromEntries(
          ['<s>', '</s>'].map((id) => [id, { id, ids: [ids[id]], tokens: [id] }]),
        ),
      }),
    ),
  ]
}

/** Tokens of a vocabulary: special ones, characters and bytes, and merges of these. */
interface Vocabulary {
  tokens: string[]
  merges: [string, string][]
}

const baseTokens = fc
  .tuple(
    fc.subarray(CHARACTERS, { minLength: 4 }),
    fc.subarray(BYTE_LEVEL),
    fc.subarray(BYTE_TOKENS),
    fc.subarray(['ab', 'abc', '##b', '##a', 'a</w>', 'b</w>', 'é', '▁a', '▁the', 'the', ' a', 'x', '▁▁'], {}),
  )
  .map((lists) => [...new Set(lists.flat())])

function vocabulary(prefix: string): fc.Arbitrary<Vocabulary> {
  return fc
    .tuple(baseTokens, fc.array(fc.tuple(fc.nat(200), fc.nat(200)), { maxLength: 25 }))
    .map(([base, pairs]) => {
      const tokens = [...base]
      const merges: [string, string][] = []
      for (const [i, j] of pairs) {
        const left = tokens[i % tokens.length]
        const right = tokens[j % tokens.length]
        if (prefix && !right.startsWith(prefix)) continue
        const merged = left + right.slice(prefix.length)
        if (merged.includes(' ') && merges.length % 2) continue
        if (merges.some(([a, b]) => a === left && b === right)) continue
        merges.push([left, right])
        if (!tokens.includes(merged)) tokens.push(merged)
      }
      return { tokens, merges }
    })
}

const idsOf = (tokens: string[]): Record<string, number> =>
  Object.fromEntries(tokens.map((token, id) => [token, id]))

/** A model, and the ids of its tokens. */
const model: fc.Arbitrary<{ model: Part; ids: Record<string, number> }> = fc.oneof(
  fc
    .record({
      prefix: fc.constantFrom('', '', '', '##'),
      suffix: fc.constantFrom<Json>(null, null, '', '</w>'),
      unk: fc.constantFrom<Json>(null, '<unk>'),
      fuse: flag,
      fallback: flag,
      ignore: flag,
      nullPrefix: flag,
      written: fc.constantFrom('pairs', 'strings'),
      dropout: fc.constantFrom<Json>(null, 0),
    })
    .chain((settings) =>
      vocabulary(settings.prefix).map(({ tokens, merges }) => {
        const ids = idsOf([...SPECIAL, ...tokens])
        const canBeStrings =
          settings.written === 'strings' &&
          merges.every((pair) => pair.every((token) => !token.includes(' ')))
        const model: Part = {
          type: 'BPE',
          dropout: settings.dropout,
          unk_token: settings.unk,
          continuing_subword_prefix: settings.prefix || (settings.nullPrefix ? null : ''),
          end_of_word_suffix: settings.suffix,
          fuse_unk: settings.fuse,
          byte_fallback: settings.fallback,
          ignore_merges: settings.ignore,
          vocab: ids,
          merges: canBeStrings ? merges.map((pair) => pair.join(' ')) : merges,
        }
        return { model, ids }
      }),
    ),
  fc
    .record({
      unk: fc.constantFrom('<unk>', '<unk>', 'a'),
      longest: fc.constantFrom(3, 100),
      prefix: fc.constantFrom('##', ''),
    })
    .chain(({ unk, longest, prefix }) =>
      vocabulary('').map(({ tokens }) => {
        const all = [
          ...new Set([...SPECIAL, ...tokens, ...tokens.slice(0, 12).map((token) => `##${token}`), unk]),
        ]
        const ids = idsOf(all)
        return {
          model: {
            type: 'WordPiece',
            unk_token: unk,
            continuing_subword_prefix: prefix,
            max_input_chars_per_word: longest,
            vocab: ids,
          } as Part,
          ids,
        }
      }),
    ),
  vocabulary('').map(({ tokens }) => {
    const ids = idsOf([...SPECIAL, ...tokens])
    return { model: { type: 'WordLevel', vocab: ids, unk_token: '<unk>' } as Part, ids }
  }),
  fc
    .record({
      unk: fc.constantFrom<Json>(0, 2, null),
      fallback: flag,
      scores: fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 20, maxLength: 20 }),
    })
    .chain(({ unk, fallback, scores }) =>
      vocabulary('').map(({ tokens }) => {
        const all = [...SPECIAL, ...tokens]
        const vocab = all.map(
          (token, id): Json => [token, id < 3 ? 0 : -(scores[id % scores.length] / 32 + id / 1024)],
        )
        return {
          model: { type: 'Unigram', unk_id: unk, vocab, byte_fallback: fallback } as Part,
          ids: idsOf(all),
        }
      }),
    ),
)

function addedTokens(ids: Record<string, number>): fc.Arbitrary<Part[]> {
  const next = Object.keys(ids).length
  return fc
    .array(
      fc.record({
        content: fc.constantFrom(
          '<s>',
          '</s>',
          '<unk>',
          '<w>',
          '<m>',
          '<|x|>',
          'Aé',
          'don',
          ' the',
          '<|im_end|>',
          'ab',
        ),
        single_word: flag,
        lstrip: flag,
        rstrip: flag,
        normalized: flag,
        special: flag,
      }),
      { maxLength: 5 },
    )
    .map((given) => {
      const seen = new Set<string>()
      let id = next
      return given
        .filter(({ content }) => !seen.has(content) && seen.add(content))
        .map((token): Part => ({ id: ids[token.content] ?? id++, ...token }))
    })
}

/** A tokenizer.json with any of the format's parts in any setting. */
const anyFile: fc.Arbitrary<Part> = model.chain(
  ({ model, ids }) =>
    fc.record({
      version: fc.constant('1.0'),
      truncation: fc.constantFrom<Json>(null, null, {
        direction: 'Right',
        max_length: 3,
        strategy: 'LongestFirst',
        stride: 0,
      }),
      padding: fc.constantFrom<Json>(null, null, {
        strategy: { Fixed: 9 },
        direction: 'Right',
        pad_to_multiple_of: null,
        pad_id: 0,
        pad_type_id: 0,
        pad_token: '<s>',
      }),
      added_tokens: addedTokens(ids),
      normalizer: optional(simpleNormalizers, 'normalizers'),
      pre_tokenizer: optional(simplePreTokenizers, 'pretokenizers'),
      post_processor: optional(postProcessors(ids), 'processors'),
      decoder: optional(simpleDecoders, 'decoders'),
      model: fc.constant(model),
    }) as fc.Arbitrary<Part>,
)

/** All 256 bytes as tokens, in GPT-2's table or as `<0x..>`, so that nothing is unknown; then characters and merges. */
const wholeModel: fc.Arbitrary<{ model: Part; ids: Record<string, number> }> = fc
  .record({
    byteLevel: flag,
    unk: fc.constantFrom<Json>(null, '<unk>'),
    fuse: flag,
    ignore: flag,
    dropout: fc.constantFrom<Json>(null, 0),
  })
  .chain(({ byteLevel, unk, fuse, ignore, dropout }) =>
    vocabulary('').map(({ tokens, merges }) => {
      const own = byteLevel
        ? BYTE_CHARACTERS
        : Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
      const kept = merges.filter((pair) => byteLevel || !pair.some((token) => token.startsWith('<0x')))
      const all = [...new Set([...SPECIAL, ...own, ...tokens, ...kept.map((pair) => pair.join(''))])]
      const ids = idsOf(all)
      const rest = {
        unk_token: unk,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: fuse,
        ignore_merges: ignore,
      }
      return {
        model: { type: 'BPE', dropout, ...rest, byte_fallback: !byteLevel, vocab: ids, merges: kept },
        ids,
      }
    }),
  )

const wordPattern = pattern.filter((value) => !/^[\^$]$/.test(String((value as Part).Regex)))

/** As published models have them: the kind of file that both libraries should read alike. */
const plainFile: fc.Arbitrary<Part> = wholeModel.chain(({ model, ids }) => {
  const byteLevel = !model.byte_fallback
  const normalizers = [
    ...['NFC', 'NFD', 'NFKC', 'NFKD'].map((type) => part(type)),
    part('Prepend', { prepend: fc.constantFrom('▁', ' ', 'a') }),
    part('Replace', { pattern: textPattern, content: fc.constantFrom('', ' ', '▁', 'x') }),
  ]
  const split = part('Split', {
    pattern: wordPattern,
    behavior: fc.constant('Isolated'),
    invert: fc.constant(false),
  })
  const cuts = [split, part('Digits', { individual_digits: flag })]
  const bytes = part('ByteLevel', {
    add_prefix_space: fc.constant(false),
    trim_offsets: flag,
    use_regex: flag,
  })
  const preTokenizer = byteLevel
    ? fc.oneof(
        bytes,
        fc
          .tuple(fc.oneof(...cuts), bytes)
          .map((pretokenizers): Part => ({ type: 'Sequence', pretokenizers })),
      )
    : optional(cuts, 'pretokenizers')
  const decoders = [
    part('Replace', { pattern: textPattern, content: fc.constantFrom('', ' ', 'x') }),
    part('ByteFallback'),
    part('Fuse'),
    part('Strip', { content: fc.constantFrom(' ', '▁'), start: fc.nat(2), stop: fc.constant(0) }),
  ]
  return fc.record({
    version: fc.constant('1.0'),
    truncation: fc.constant(null),
    padding: fc.constant(null),
    added_tokens: addedTokens(ids).map((tokens) =>
      tokens.map((token) => ({
        ...token,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      })),
    ),
    normalizer: optional(normalizers, 'normalizers'),
    pre_tokenizer: preTokenizer,
    post_processor: optional(postProcessors(ids).slice(2), 'processors'),
    decoder: byteLevel
      ? part('ByteLevel', { add_prefix_space: flag, trim_offsets: flag, use_regex: flag })
      : optional(decoders, 'decoders'),
    model: fc.constant(model),
  }) as fc.Arbitrary<Part>
})

export const tokenizerFile: fc.Arbitrary<Part> = fc.oneof(anyFile, plainFile)
