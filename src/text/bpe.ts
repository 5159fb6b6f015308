import { Tokenizer } from '@huggingface/tokenizers'
import { InputError } from '../errors.ts'
import { BYTE_CHARACTERS } from './byte-characters.ts'

/** What a Hugging Face `tokenizer.json` of a byte-level BPE holds. */
export type TokenizerJson = ReturnType<typeof tokenizerJson>

export interface BpeOptions {
  /** Ids in all: special tokens, 256 bytes, merges. Fewer come out where the texts have no pairs left. */
  vocabSize: number
  /** Printable ASCII, two characters or more. They get the ids from 0 on, and are cut out of the texts. */
  specialTokens: readonly string[]
  /** Every digit a word of its own, without the space before it: a number then has as many tokens as digits. */
  individualDigits?: boolean
}

// GPT-2's pattern, as a Split of its own: in the one built into ByteLevel, JavaScript's `\s` has U+FEFF and lacks U+0085,
// unlike Rust's, and texts with either would get other ids there.
function wordPattern(individualDigits = false): string {
  const number = individualDigits ? String.raw`\p{N}` : String.raw` ?\p{N}+`
  return String.raw`'(?:[sdmt]|ll|ve|re)| ?\p{L}+|${number}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
}

interface Word {
  symbols: number[]
  count: number
}

/** A pair of token ids that stand side by side, how often, and the words in which they did when last looked at. */
interface Pair {
  left: number
  right: number
  count: number
  words: Set<Word>
}

/**
 * Trains a byte-level BPE tokenizer (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909) on `texts`. The most frequent
 * pair is merged first; of equally frequent ones the first by its left, then its right token, compared as strings. So the
 * same texts give the same tokenizer. InputError for options that are out of range.
 */
export function trainBpe(texts: readonly string[], options: BpeOptions): TokenizerJson {
  checkOptions(options)
  const tokens = [...options.specialTokens, ...BYTE_CHARACTERS.toSorted()]
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const merges: [string, string][] = []
  const pairs = new PairCounts(countWords(texts, options, ids))
  while (tokens.length < options.vocabSize) {
    const best = pairs.best(tokens)
    if (!best) break
    const [left, right] = [tokens[best.left], tokens[best.right]]
    const merged = left + right
    // Two pairs may spell the same token: a+bc and ab+c.
    const id = ids.get(merged) ?? tokens.push(merged) - 1
    ids.set(merged, id)
    merges.push([left, right])
    pairs.merge(best, id)
  }
  return tokenizerJson(tokens, merges, options)
}

/**
 * The tokenizer that puts `token` in front of every text where special tokens are asked for, as those of Llama and
 * Mixtral do: a model whose documents all began with it knows no other beginning.
 */
export function beginningWith(tokenizer: TokenizerJson, token: string): TokenizerJson {
  const begin = (type_id: number) => ({ SpecialToken: { id: token, type_id } })
  const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } })
  const special = { id: token, ids: [tokenizer.model.vocab[token]], tokens: [token] }
  const post_processor = {
    type: 'TemplateProcessing',
    single: [begin(0), text('A', 0)],
    pair: [begin(0), text('A', 0), begin(1), text('B', 1)],
    special_tokens: { [token]: special },
  }
  return { ...tokenizer, post_processor }
}

function checkOptions({ vocabSize, specialTokens }: BpeOptions): void {
  const least = specialTokens.length + 256
  if (!Number.isInteger(vocabSize) || vocabSize < least) {
    throw new InputError(
      `vocabSize is ${vocabSize}, expected at least ${least}: ${specialTokens.length} special tokens and 256 bytes`,
    )
  }
  for (const [i, token] of specialTokens.entries()) {
    // One character, or one outside ASCII, could be taken for the way that bytes are written.
    if (!/^[\x21-\x7e]{2,}$/.test(token)) {
      throw new InputError(
        `special token ${JSON.stringify(token)} is not two or more printable ASCII characters`,
      )
    }
    if (specialTokens.indexOf(token) !== i) throw new InputError(`special token "${token}" is given twice`)
  }
}

/** Each distinct word once. Split by the very pre-tokenizer that will encode, so that both see the same words. */
function countWords(
  texts: readonly string[],
  { specialTokens, individualDigits }: BpeOptions,
  ids: ReadonlyMap<string, number>,
): Word[] {
  const empty = tokenizerJson([], [], { specialTokens: [], individualDigits })
  const split = new Tokenizer(empty, {}).pre_tokenizer!
  const special = specialTokens.toSorted((a, b) => b.length - a.length)
  const escaped = special.map((token) => token.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&'))
  const cut = new RegExp(escaped.join('|') || '(?!)')
  const counts = new Map<string, number>()
  for (const text of texts) {
    for (const piece of text.split(cut)) {
      for (const word of split.pre_tokenize(piece)) counts.set(word, (counts.get(word) ?? 0) + 1)
    }
  }
  return [...counts].map(([word, count]) => ({ symbols: Array.from(word, (char) => ids.get(char)!), count }))
}

/** The counts of all adjacent pairs, kept right while words change: a merge costs as much as the words it touches. */
class PairCounts {
  private readonly pairs = new Map<number, Pair>()

  constructor(words: Word[]) {
    for (const word of words) this.add(word, 1)
  }

  /** The pair to merge next, or undefined where none is left. */
  best(tokens: readonly string[]): Pair | undefined {
    let best: Pair | undefined
    for (const pair of this.pairs.values()) {
      if (!best || pair.count > best.count || (pair.count === best.count && isBefore(pair, best, tokens))) {
        best = pair
      }
    }
    return best
  }

  /** Replaces `pair` by the token `id` in every word. */
  merge(pair: Pair, id: number): void {
    for (const word of pair.words) {
      this.add(word, -1)
      const { symbols } = word
      let length = 0
      for (let i = 0; i < symbols.length; i++) {
        const isPair = symbols[i] === pair.left && symbols[i + 1] === pair.right
        symbols[length++] = isPair ? id : symbols[i]
        if (isPair) i++
      }
      symbols.length = length
      this.add(word, 1)
    }
  }

  /** Counts the pairs of `word` in (`sign` 1) or out (-1). */
  private add(word: Word, sign: 1 | -1): void {
    const { symbols, count } = word
    for (let i = 0; i + 1 < symbols.length; i++) {
      const [left, right] = [symbols[i], symbols[i + 1]]
      const key = left * 2 ** 24 + right
      const pair = this.pairs.get(key) ?? { left, right, count: 0, words: new Set() }
      pair.count += sign * count
      if (sign > 0) pair.words.add(word)
      if (pair.count === 0) this.pairs.delete(key)
      else this.pairs.set(key, pair)
    }
  }
}

function isBefore(a: Pair, b: Pair, tokens: readonly string[]): boolean {
  if (a.left !== b.left) return tokens[a.left] < tokens[b.left]
  return tokens[a.right] < tokens[b.right]
}

function tokenizerJson(
  tokens: readonly string[],
  merges: [string, string][],
  { specialTokens, individualDigits }: Pick<BpeOptions, 'specialTokens' | 'individualDigits'>,
) {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
  const words = {
    type: 'Split',
    pattern: { Regex: wordPattern(individualDigits) },
    behavior: 'Isolated',
    invert: false,
  }
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({ id, content, ...plain })),
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [words, byteLevel] },
    /** What goes round a text, where special tokens are asked for: `beginningWith`. */
    post_processor: null as object | null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      /** Token to id. A byte is written as one visible character (`BYTE_CHARACTERS`): a space is `Ġ`. */
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  }
}
