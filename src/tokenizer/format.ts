import { isJsonObject } from '../checks.ts'
import { CheckpointError } from '../errors.ts'
import { shown } from '../text/foreign.ts'
import type { TokenizerJson } from './tokenizer.ts'

const MODEL_TYPES = ['BPE', 'WordPiece', 'WordLevel', 'Unigram']
const PARTS = ['normalizer', 'pre_tokenizer', 'post_processor', 'decoder']
/** Ids are 32-bit numbers in the library. */
const MAX_ID = 2 ** 32 - 1
const ID = `a whole number from 0 to ${MAX_ID}`

/**
 * Looks at what every library takes for granted: one of them reads a list as a vocabulary, an id as text, and a merge of
 * nothing as one of everything. Whether settings and names of parts are known is the library's to say.
 * @throws CheckpointError at the first breach of the format, naming file, place and value
 */
export function checkFormat(json: TokenizerJson, file: string): void {
  const check: Check = (holds, place, value, expected) => {
    if (!holds) throw new CheckpointError(`${file}: ${place} is ${shown(value)}, expected ${expected}`)
  }
  const { model, added_tokens: added = [] } = json
  if (!isJsonObject(model) || !('vocab' in model)) {
    throw new CheckpointError(
      `${file}: has no "model" with a "vocab", expected a tokenizer of the Hugging Face tokenizers library`,
    )
  }
  const { vocab } = model
  const type = model.type ?? typeOfOld(model)
  check(MODEL_TYPES.includes(type as string), 'model.type', type, `one of ${MODEL_TYPES.join(', ')}`)
  if (type === 'Unigram') checkPieces(vocab, check)
  else checkVocabulary(vocab, check)
  if (type === 'BPE') checkMerges(model, vocab as Record<string, number>, check)
  checkAdded(added, check)
  for (const name of PARTS) {
    const part = json[name] ?? null
    const known = part === null || (isJsonObject(part) && typeof part.type === 'string')
    check(known, name, part, 'null or an object with a "type"')
  }
}

/** Older files leave the type out. */
function typeOfOld(model: Record<string, unknown>): string {
  if (Array.isArray(model.vocab)) return 'Unigram'
  return 'merges' in model ? 'BPE' : 'WordLevel'
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

/** Pairs of tokens, each as a list of two or as one text with a space between, whose joined text is a token too. Old files begin with a line of their version. */
function checkMerges(model: Record<string, unknown>, vocab: Record<string, number>, check: Check): void {
  const { merges, continuing_subword_prefix: prefix } = model
  check(Array.isArray(merges), 'model.merges', merges, 'a list of pairs of tokens')
  const cut = typeof prefix === 'string' ? prefix.length : 0
  for (const [i, merge] of (merges as unknown[]).entries()) {
    if (typeof merge === 'string' && merge.startsWith('#version')) continue
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
    check(typeof content === 'string', `${place}.content`, content, 'a text')
  }
}

function isId(id: unknown): boolean {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) <= MAX_ID
}
