/** A tokenizer.json as parsed. What it holds is checked by `checkFormat`. */
export type TokenizerJson = Readonly<Record<string, unknown>>

/** A token that is cut out of texts before anything else; what stands for a mark is `special`. */
export interface AddedToken {
  id: number
  content: string
  normalized?: boolean
  special?: boolean
}

/** A library that reads tokenizer.json files. */
export interface TokenizerLibrary {
  /** Its npm package and version, for messages and reports. */
  readonly name: string
  /** What in a file it would not follow exactly, by name, or null. */
  unsupported(json: TokenizerJson): string | null
  /** @throws Error for a file that it does not take */
  open(json: TokenizerJson): OpenTokenizer
}

/** A tokenizer of some library. */
export interface OpenTokenizer {
  encode(text: string, addSpecialTokens: boolean): Promise<number[]>
  /** Text of ids that are all in the vocabulary. */
  decode(ids: number[], skipSpecialTokens: boolean): Promise<string>
  /** The token of an id as the file writes it, or null outside the vocabulary. */
  tokenOf(id: number): string | null
}

/** Text to token ids and back, as a model's tokenizer.json says. */
export class Tokenizer {
  /** Ids of tokens that mark something (begin, end, padding) and are no text. */
  readonly specialIds: ReadonlySet<number>
  /** The same by what stands for them in a text, such as `</s>`. */
  readonly specialTokens: ReadonlyMap<string, number>
  private readonly hasByteFallback: boolean

  constructor(
    private readonly inner: OpenTokenizer,
    json: TokenizerJson,
    /** The library that serves, such as `tokenizers 0.23.2`. */
    readonly library: string,
  ) {
    const special = ((json.added_tokens ?? []) as AddedToken[]).filter((token) => token.special)
    this.specialIds = new Set(special.map(({ id }) => id))
    this.specialTokens = new Map(special.map(({ id, content }) => [content, id]))
    this.hasByteFallback = JSON.stringify(json.decoder ?? null).includes('"type":"ByteFallback"')
  }

  /** Ids of a text. Special tokens are added as the file's post-processor says, unless told otherwise. Nothing is cut off or padded. */
  encode(text: string, { addSpecialTokens = true } = {}): Promise<number[]> {
    return this.inner.encode(text, addSpecialTokens)
  }

  /** Text of ids, as the model wrote it (no clean-up of spaces). Ids outside the vocabulary give no text. */
  async decode(tokens: readonly number[], { skipSpecialTokens = true } = {}): Promise<string> {
    const known = tokens.filter((id) => this.inner.tokenOf(id) !== null)
    return known.length === 0 ? '' : this.inner.decode(known, skipSpecialTokens)
  }

  /** Whether an id gives text: it is in the vocabulary, and no mark. */
  isText(id: number): boolean {
    return !this.specialIds.has(id) && this.inner.tokenOf(id) !== null
  }

  /** Whether an id stands for one byte (`<0x0A>`), which is read together with those beside it. */
  isByte(id: number): boolean {
    return this.hasByteFallback && BYTE_TOKEN.test(this.inner.tokenOf(id) ?? '')
  }
}

/** How a vocabulary writes one byte. */
export const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/
