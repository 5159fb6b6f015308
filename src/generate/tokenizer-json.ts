import { join } from 'node:path'
import { isJsonObject } from '../checkpoint/json.ts'
import { CheckpointError } from '../errors.ts'
import { entryAt, readJson } from '../files.ts'
import { shown } from '../text/foreign.ts'

/** What a tokenizer.json of the Hugging Face tokenizers library holds, once checked. */
export interface TokenizerFile {
  model: Record<string, unknown> & { type: ModelType; vocab: unknown }
  added_tokens: AddedToken[]
  normalizer: Part | null
  pre_tokenizer: Part | null
  post_processor: Part | null
  decoder: Part | null
  [other: string]: unknown
}

export interface AddedToken {
  id: number
  content: string
  [other: string]: unknown
}

type Part = Record<string, unknown> & { type: string }

const MODEL_TYPES = ['BPE', 'WordPiece', 'WordLevel', 'Unigram'] as const
type ModelType = (typeof MODEL_TYPES)[number]

const PARTS = ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder'] as const

/** Ids are 32-bit numbers in the library. */
const MAX_ID = 2 ** 32 - 1

/**
 * A directory's tokenizer.json with its tokenizer_config.json (empty where there is none), both checked; null without the
 * first.
 * @throws CheckpointError that names file, place and value
 */
export function readTokenizerFiles(
  dir: string,
): { file: string; json: TokenizerFile; config: Record<string, unknown> } | null {
  const [file, configFile] = ['tokenizer.json', 'tokenizer_config.json'].map((name) => join(dir, name))
  if (!entryAt(file, CheckpointError)) return null
  const config = entryAt(configFile, CheckpointError) ? readObject(configFile) : {}
  return { file, json: checkedTokenizer(readObject(file), file), config }
}

function readObject(file: string): Record<string, unknown> {
  const json = readJson(file, CheckpointError)
  if (!isJsonObject(json)) throw new CheckpointError(`${file}: is ${shown(json)}, expected a JSON object`)
  return json
}

/**
 * The same object, its parts that may be left out as null or an empty list. Whether names of parts are known is the
 * library's to say.
 * @throws CheckpointError at the first breach of the library's format: an id that is no number would become text that is
 * none, and a merge of nothing would run forever
 */
export function checkedTokenizer(json: Record<string, unknown>, file: string): TokenizerFile {
  const check: Check = (holds, place, value, expected) => {
    if (!holds) throw new CheckpointError(`${file}: ${place} is ${shown(value)}, expected ${expected}`)
  }
  const { model, added_tokens: added = [] } = json
  if (!isJsonObject(model) || !('vocab' in model)) {
    throw new CheckpointError(
      `${file}: has no "model" with a "vocab", expected a tokenizer of the Hugging Face tokenizers library`,
    )
  }
  const { type = 'BPE', vocab } = model // older files leave it out
  check(MODEL_TYPES.includes(type as ModelType), 'model.type', type, `one of ${MODEL_TYPES.join(', ')}`)
  if (type === 'Unigram') checkPieces(vocab, check)
  else checkVocabulary(vocab, check)
  if (type === 'BPE') checkMerges(model, vocab as Record<string, number>, check)
  checkAdded(added, check)
  const parts = Object.fromEntries(
    PARTS.map((name) => {
      const part = json[name] ?? null
      const known = part === null || (isJsonObject(part) && typeof part.type === 'string')
      check(known, name, part, 'null or an object with a "type"')
      return [name, part]
    }),
  )
  return { ...json, ...parts, model: { ...model, type }, added_tokens: added } as TokenizerFile
}

type Check = (holds: boolean, place: string, value: unknown, expected: string) => void

/** Token to id. */
function checkVocabulary(vocab: unknown, check: Check): void {
  const isMap = isJsonObject(vocab)
  check(isMap, 'model.vocab', vocab, 'an object of token to id')
  const entries = Object.entries(vocab as Record<string, unknown>)
  check(entries.length > 0, 'model.vocab', vocab, 'at least one token')
  for (const [token, id] of entries) if (!isId(id)) check(false, `model.vocab[${shown(token)}]`, id, ID)
}

/** [piece, score] by id. */
function checkPieces(vocab: unknown, check: Check): void {
  check(Array.isArray(vocab) && vocab.length > 0, 'model.vocab', vocab, 'a list of [piece, score]')
  for (const [id, piece] of (vocab as unknown[]).entries()) {
    const isPiece =
      Array.isArray(piece) &&
      piece.length === 2 &&
      typeof piece[0] === 'string' &&
      typeof piece[1] === 'number'
    if (!isPiece) check(false, `model.vocab[${id}]`, piece, '[piece, score]')
  }
}

/** Pairs of tokens, each as a list of two or as one text with a space between, whose joined text is a token too. */
function checkMerges(model: Record<string, unknown>, vocab: Record<string, number>, check: Check): void {
  const { merges, continuing_subword_prefix: prefix } = model
  check(Array.isArray(merges), 'model.merges', merges, 'a list of pairs of tokens')
  const cut = typeof prefix === 'string' ? prefix.length : 0
  for (const [i, merge] of (merges as unknown[]).entries()) {
    const pair: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []
    const [left, right] = pair
    const isPair =
      pair.length === 2 &&
      typeof left === 'string' &&
      typeof right === 'string' &&
      [left, right, left + right.slice(cut)].every((token) => Object.hasOwn(vocab, token))
    if (!isPair) {
      check(
        false,
        `model.merges[${i}]`,
        merge,
        'two tokens of model.vocab that make a third one, such as ["a", "b"] or "a b"',
      )
    }
  }
}

function checkAdded(added: unknown, check: Check): void {
  check(Array.isArray(added), 'added_tokens', added, 'a list of tokens')
  for (const [i, token] of (added as unknown[]).entries()) {
    const place = `added_tokens[${i}]`
    check(isJsonObject(token), place, token, 'an object with "id" and "content"')
    const { id, content } = token as Record<string, unknown>
    check(isId(id), `${place}.id`, id, ID)
    check(typeof content === 'string' && content !== '', `${place}.content`, content, 'a text')
  }
}

const ID = `a whole number from 0 to ${MAX_ID}`

function isId(id: unknown): boolean {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) <= MAX_ID
}
