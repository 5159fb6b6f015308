import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { CheckpointError, messageOf } from '../errors.ts'
import { excerpt } from '../text/foreign.ts'
import { decodeByteFallback } from './byte-fallback.ts'
import { readTokenizerFiles } from './tokenizer-json.ts'

/** Text to token ids and back, as a model's tokenizer.json says. */
export class Tokenizer {
  /** Ids of tokens that mark something (begin, end, padding) and are no text. */
  readonly specialIds: ReadonlySet<number>

  constructor(private readonly inner: HuggingFaceTokenizer) {
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
 * The tokenizer of a model directory (tokenizer.json, and tokenizer_config.json if present), or null without one.
 * @throws CheckpointError for a file that is no tokenizer
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer | null> {
  const files = readTokenizerFiles(dir)
  if (!files) return null
  const { file, json, config } = files
  try {
    return new Tokenizer(new HuggingFaceTokenizer(json, config))
  } catch (error) {
    throw new CheckpointError(`${file}: cannot be used as a tokenizer (${excerpt(messageOf(error))})`, {
      cause: error,
    })
  }
}

/** A decoder as the library builds it; only a sequence has parts. */
type Decoder = NonNullable<HuggingFaceTokenizer['decoder']> & { decoders?: Decoder[] }

/** The library's byte fallback (0.2.0) loses U+FEFF and reads broken bytes unlike the Rust library: ours replaces it. */
function repairDecoder(decoder: Decoder | null): void {
  if (decoder?.config.type === 'ByteFallback') decoder.decode_chain = decodeByteFallback
  for (const part of decoder?.decoders ?? []) repairDecoder(part)
}
