import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { BYTE_CHARACTERS } from '../text/byte-characters.ts'
import { shown } from '../text/foreign.ts'
import { decodeByteFallback, decodeByteLevel } from './byte-decoders.ts'
import { literalOf, type Part, STEP_LISTS, type StepField, stepsIn } from './parts.ts'
import { BYTE_TOKEN, type OpenTokenizer, type TokenizerJson, type TokenizerLibrary } from './tokenizer.ts'

/**
 * Hugging Face's library in JavaScript, for browsers and platforms without the reference library. It passes over fields that
 * it does not know, so what it would read otherwise than the reference library is refused.
 */
export const javascriptLibrary: TokenizerLibrary = { name: '@huggingface/tokenizers 0.2', unsupported, open }

function open(json: TokenizerJson): OpenTokenizer {
  const inner = new HuggingFaceTokenizer({ ...ABSENT_PARTS, ...json }, {})
  repairDecoder(inner.decoder)
  repairPreTokenizer(inner.pre_tokenizer)
  const tokenOf = (id: number) => inner.id_to_token(id) ?? null
  return {
    encode: async (text, add_special_tokens) => inner.encode(text, { add_special_tokens }).ids,
    decode: async (ids, skip_special_tokens) =>
      inner.decode(ids, { skip_special_tokens, clean_up_tokenization_spaces: false }),
    tokenOf,
  }
}

// The library wants these named even where a tokenizer has none.
const ABSENT_PARTS = {
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  added_tokens: [],
}

/** Steps as the library builds them; only a sequence has parts. */
type Decoder = NonNullable<HuggingFaceTokenizer['decoder']> & { decoders?: Decoder[] }
type PreTokenizer = NonNullable<HuggingFaceTokenizer['pre_tokenizer']> & {
  tokenizers?: PreTokenizer[]
  config?: { type?: string; individual_digits?: boolean }
  pattern?: RegExp
}

/** The library loses U+FEFF, and reads broken bytes and characters that are no bytes unlike the reference library. */
function repairDecoder(decoder: Decoder | null): void {
  if (decoder?.config.type === 'ByteFallback') decoder.decode_chain = decodeByteFallback
  if (decoder?.config.type === 'ByteLevel') decoder.decode_chain = decodeByteLevel
  for (const part of decoder?.decoders ?? []) repairDecoder(part)
}

/** GPT-2's pattern with the white space of Unicode: JavaScript's `\s` has U+FEFF and lacks U+0085. */
const WORDS =
  /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu

function repairPreTokenizer(preTokenizer: PreTokenizer | null): void {
  const { type, individual_digits } = preTokenizer?.config ?? {}
  if (type === 'ByteLevel') preTokenizer!.pattern = WORDS
  if (type === 'Digits') preTokenizer!.pattern = individual_digits ? /\P{N}+|\p{N}/gu : /\P{N}+|\p{N}+/gu // its own knows ASCII only
  for (const part of preTokenizer?.tokenizers ?? []) repairPreTokenizer(part)
}

/** Which values of a setting are followed, of those that a part may have. */
type Rule = (value: unknown, json: TokenizerJson) => boolean
type Rules = Readonly<Record<string, Rule>>

const any: Rule = () => true
const off: Rule = (value) => value === false || value === null || value === undefined
const absent: Rule = (value) => value === null || value === '' || value === undefined
const isFlag: Rule = (value) => typeof value === 'boolean'
/** A text to put in, which JavaScript's replacing would read `$` in. */
const plain: Rule = (value) => typeof value === 'string' && !value.includes('$')
const literal: Rule = (value) => (literalOf(value) ?? '') !== ''

/** Steps and the settings with which both libraries agree (tests/tokenizer/random.test.ts). */
const STEPS: Readonly<Record<StepField, Readonly<Record<string, Rules>>>> = {
  normalizer: {
    NFC: {},
    NFD: {},
    NFKC: {},
    NFKD: {},
    Prepend: { prepend: any },
    Replace: { pattern: literal, content: plain },
  },
  pre_tokenizer: {
    ByteLevel: { add_prefix_space: (value) => value === false, trim_offsets: any, use_regex: isFlag },
    Digits: { individual_digits: isFlag },
    Split: { pattern: isSplitPattern, behavior: (value) => value === 'Isolated', invert: off },
  },
  post_processor: {
    ByteLevel: { add_prefix_space: any, trim_offsets: any, use_regex: any },
    TemplateProcessing: { single: any, pair: any, special_tokens: any },
  },
  decoder: {
    ByteFallback: {},
    ByteLevel: { add_prefix_space: any, trim_offsets: any, use_regex: any },
    Fuse: {},
    Replace: { pattern: literal, content: plain },
    Strip: { content: any, start: any, stop: (value) => value === 0 },
  },
}

const BPE: Rules = {
  dropout: (value) => absent(value, {}) || value === 0,
  unk_token: any,
  continuing_subword_prefix: absent,
  end_of_word_suffix: absent,
  fuse_unk: any,
  byte_fallback: (value, json) => off(value, json) || hasAllBytes(json),
  ignore_merges: any,
  vocab: any,
  merges: any,
}

const ADDED_TOKEN: Rules = {
  id: any,
  content: (value) => value !== '',
  single_word: off,
  lstrip: off,
  rstrip: off,
  normalized: (value, { normalizer }) => value === false || absent(normalizer, {}),
  special: any,
}

/** The first part or setting that the library would not follow. */
function unsupported(json: TokenizerJson): string | null {
  const model = (json.model ?? {}) as Part
  if ((model.type ?? 'BPE') !== 'BPE') return `model ${model.type}`
  const found = unfollowed('model BPE', { ...model, type: 'BPE' }, BPE, json)
  if (found) return found
  if (absent(model.unk_token, json) && !hasAllBytes(json))
    return 'model BPE without unk_token and without all 256 bytes'
  for (const token of (json.added_tokens ?? []) as Part[]) {
    const problem = unfollowed(`added token ${shown(token.content)}`, token, ADDED_TOKEN, json)
    if (problem) return problem
  }
  for (const field of Object.keys(STEP_LISTS) as StepField[]) {
    for (const step of stepsIn(json, field)) {
      const rules = STEPS[field][step.type]
      if (!rules) return `${field} ${step.type}`
      const problem = unfollowed(`${field} ${step.type}`, step, rules, json)
      if (problem) return problem
    }
  }
  return null
}

function unfollowed(name: string, part: Part, rules: Rules, json: TokenizerJson): string | null {
  for (const field of new Set([...Object.keys(rules), ...Object.keys(part)])) {
    if (field === 'type' || rules[field]?.(part[field], json)) continue
    if (part[field] === undefined) return `${name} without ${field}`
    return `${name} with ${field} ${shown(part[field])}`
  }
  return null
}

/** A text, or an expression that takes one character or more: at an empty match the libraries go on differently. */
function isSplitPattern(pattern: unknown): boolean {
  if (literal(pattern, {})) return true
  const { Regex: source } = (pattern ?? {}) as { Regex?: unknown }
  return typeof source === 'string' && !/^[\^$]|^$|\|$/.test(source)
}

/** Whether every byte has a token of its own that no merge makes part of another: nothing is then unknown. */
function hasAllBytes({ model, pre_tokenizer, ...json }: TokenizerJson): boolean {
  const { vocab = {}, merges = [], byte_fallback } = (model ?? {}) as Record<string, object>
  const has = (token: string) => Object.hasOwn(vocab, token)
  if (stepsIn({ ...json, pre_tokenizer }, 'pre_tokenizer').some(({ type }) => type === 'ByteLevel'))
    return BYTE_CHARACTERS.every(has)
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const merged = (merges as unknown[]).flatMap((merge) =>
    Array.isArray(merge) ? merge : String(merge).split(' '),
  )
  return Boolean(byte_fallback) && bytes.every(has) && !merged.some((token) => BYTE_TOKEN.test(String(token)))
}
