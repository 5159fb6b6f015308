import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { CheckpointError, messageOf } from '../errors.ts'
import { modelDirectory } from '../package.ts'
import { decodeByteFallback } from './byte-fallback.ts'

/**
 * What is needed of the library's tokenizer, in our words: its own declarations do not compile under every moduleResolution,
 * and whoever imports ours would meet them.
 */
export interface TokenizerCore {
  readonly decoder: Decoder | null
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] }
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string
  id_to_token(id: number): string | undefined
  get_added_tokens_decoder(): Iterable<[number, { special: boolean }]>
}

/** A decoder as the library builds it; only a sequence has parts. */
interface Decoder {
  config: { type?: string }
  decode_chain(tokens: string[]): string[]
  decoders?: Decoder[]
}

/** Text to token ids and back, as a model's tokenizer.json says. */
export class Tokenizer {
  /** Ids of tokens that mark something (begin, end, padding) and are no text. */
  readonly specialIds: ReadonlySet<number>

  constructor(private readonly inner: TokenizerCore) {
    const added = [...inner.get_added_tokens_decoder()]
    this.specialIds = new Set(added.filter(([, token]) => token.special).map(([id]) => id))
    repairDecoder(inner.decoder)
  }

  /** Ids of a text. Special tokens are added as the file's post-processor says, unless told otherwise. */
  encode(text: string, { addSpecialTokens = true } = {}): number[] {
    return this.inner.encode(text, { add_special_tokens: addSpecialTokens }).ids
  }

  /** Text of ids, as the model wrote it (no clean-up of spaces). Ids outside the vocabulary give no text. */
  decode(tokens: readonly number[], { skipSpecialTokens = true } = {}): string {
    const known = tokens.filter((id) => this.inner.id_to_token(id) !== undefined)
    if (known.length === 0) return ''
    return this.inner.decode(known, {
      skip_special_tokens: skipSpecialTokens,
      clean_up_tokenization_spaces: false,
    })
  }
}

/**
 * The tokenizer of a model, named as for `loadModel` (tokenizer.json, and tokenizer_config.json if present), or null without
 * one.
 * @throws CheckpointError for a file that is no tokenizer
 */
export async function loadTokenizer(model: string): Promise<Tokenizer | null> {
  const dir = modelDirectory(model)
  const file = join(dir, 'tokenizer.json')
  if (!existsSync(file)) return null
  const configFile = join(dir, 'tokenizer_config.json')
  const json = readObject(file)
  const config = existsSync(configFile) ? readObject(configFile) : {}
  const { vocab } = (json.model ?? {}) as { vocab?: unknown }
  if (typeof vocab !== 'object' || vocab === null) {
    throw new CheckpointError(
      `${file}: has no "model" with a "vocab", expected a tokenizer of the Hugging Face tokenizers library`,
    )
  }
  try {
    return new Tokenizer(new HuggingFaceTokenizer({ ...ABSENT_PARTS, ...json }, config))
  } catch (error) {
    throw new CheckpointError(`${file}: cannot be used as a tokenizer (${messageOf(error)})`, {
      cause: error,
    })
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

function readObject(file: string): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw new CheckpointError(`${file}: not JSON (${messageOf(error)})`, { cause: error })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new CheckpointError(`${file}: is ${JSON.stringify(json).slice(0, 40)}, expected a JSON object`)
  }
  return json as Record<string, unknown>
}

/** The library's byte fallback (0.2.0) loses U+FEFF and reads broken bytes unlike the Rust library: ours replaces it. */
function repairDecoder(decoder: Decoder | null): void {
  if (decoder?.config.type === 'ByteFallback') decoder.decode_chain = decodeByteFallback
  for (const part of decoder?.decoders ?? []) repairDecoder(part)
}
