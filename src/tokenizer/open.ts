import type { ModelFiles } from '../checkpoint/source.ts'
import { isJsonObject } from '../checks.ts'
import { CheckpointError, messageOf } from '../errors.ts'
import { excerpt, shown } from '../text/foreign.ts'
import { parseJson } from '../text/json.ts'
import { crashOf } from './crashes.ts'
import { checkFormat } from './format.ts'
import { type AddedToken, Tokenizer, type TokenizerJson, type TokenizerLibrary } from './tokenizer.ts'

const FILE = 'tokenizer.json'
const CONFIG_FILE = 'tokenizer_config.json'

/**
 * The tokenizer of a model directory (tokenizer.json, and tokenizer_config.json if present), or null without one.
 * @throws CheckpointError for a file that is no tokenizer, or that the library would not follow
 */
export function readTokenizer(files: ModelFiles, library: TokenizerLibrary): Tokenizer | null {
  if (!files.has(FILE)) return null
  const json = readObject(files, FILE)
  const config = files.has(CONFIG_FILE) ? readObject(files, CONFIG_FILE) : {}
  return openTokenizer(json, { file: files.at(FILE), config, library })
}

/** The same from what the files hold. */
export function openTokenizer(
  json: TokenizerJson,
  { file = FILE, config = {}, library }: { file?: string; config?: TokenizerJson; library: TokenizerLibrary },
): Tokenizer {
  checkFormat(json, file)
  // Cutting off and padding are the caller's: transformers switches both off, whatever the file says.
  const whole = withConfigTokens({ ...json, truncation: null, padding: null }, config, file)
  const crash = crashOf(whole)
  if (crash) throw new CheckpointError(`${file}: ${crash}`)
  const problem = library.unsupported(whole)
  if (problem) throw new CheckpointError(`${file}: ${problem} is not supported by ${library.name}`)
  try {
    return new Tokenizer(library.open(whole), whole, library.name)
  } catch (error) {
    throw new CheckpointError(`${file}: cannot be used as a tokenizer (${excerpt(messageOf(error))})`, {
      cause: error,
    })
  }
}

/** Tokens may stand in tokenizer_config.json alone; they are tokens of the file all the same. */
function withConfigTokens(json: TokenizerJson, config: TokenizerJson, file: string): TokenizerJson {
  const own = (json.added_tokens ?? []) as AddedToken[]
  const others = (config.added_tokens_decoder ?? {}) as Record<string, AddedToken>
  const known = new Map(own.map((token) => [token.id, token]))
  for (const [key, value] of Object.entries(others)) {
    const id = Number(key)
    const there = known.get(id)
    if (there && there.content !== value.content) {
      throw new CheckpointError(
        `${file}: added token ${id} is ${shown(there.content)}, but tokenizer_config.json has ${shown(value.content)} there`,
      )
    }
    if (!there) known.set(id, { ...FLAGS, ...value, id })
  }
  return { ...json, added_tokens: [...known.values()].sort((left, right) => left.id - right.id) }
}

// As the reference library's own AddedToken begins.
const FLAGS = { single_word: false, lstrip: false, rstrip: false, normalized: true, special: false }

function readObject(files: ModelFiles, name: string): Record<string, unknown> {
  const json = parseJson(files.bytes(name), `${files.at(name)}:`, CheckpointError)
  if (isJsonObject(json)) return json
  throw new CheckpointError(`${files.at(name)}: is ${shown(json)}, expected a JSON object`)
}
