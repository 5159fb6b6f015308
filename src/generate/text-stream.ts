import type { Tokenizer } from './tokenizer.ts'

const REPLACEMENT = '\uFFFD'

/** Tokens of the prompt that the first new token is decoded with. */
const PROMPT_CONTEXT = 6

/**
 * Turns tokens into text piece by piece. A token is decoded together with the ones before it, since spaces and characters
 * may span tokens; what ends in a broken character waits for the next token (as vLLM's detokenizer does).
 */
export class TextStream {
  /** Tokens already given out, kept so that the next ones read as their continuation. */
  private context: number[]
  private pending: number[] = []

  constructor(
    private readonly tokenizer: Tokenizer,
    prompt: readonly number[],
  ) {
    this.context = prompt.slice(-PROMPT_CONTEXT)
    // A cut or broken character would make what follows it read wrongly.
    while (tokenizer.decode(this.context).includes(REPLACEMENT)) this.context.shift()
  }

  /** The text that is certain with this token; '' while a character is incomplete. */
  push(token: number): string {
    this.pending.push(token)
    const text = this.pendingText()
    if (text === '' || text.endsWith(REPLACEMENT)) return ''
    this.context = this.pending
    this.pending = []
    return text
  }

  /** What is left at the end, broken characters as U+FFFD. */
  flush(): string {
    const text = this.pendingText()
    this.pending = []
    return text
  }

  private pendingText(): string {
    const before = this.tokenizer.decode(this.context)
    return this.tokenizer.decode([...this.context, ...this.pending]).slice(before.length)
  }
}

/** Cuts a text before the first of several stop texts, and holds back what may be the beginning of one. */
export class StopFilter {
  private held = ''

  constructor(private readonly stops: readonly string[]) {}

  /** The text that is certain now, and whether a stop text was found. */
  push(piece: string): { text: string; stopped: boolean } {
    const text = this.held + piece
    const found = this.stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) {
      this.held = ''
      return { text: text.slice(0, Math.min(...found)), stopped: true }
    }
    const certain = text.length - this.beginningOfStop(text)
    this.held = text.slice(certain)
    return { text: text.slice(0, certain), stopped: false }
  }

  /** What was held back, at the end of a text in which no stop text came. */
  flush(): string {
    const { held } = this
    this.held = ''
    return held
  }

  /** Length of the longest end of the text that a stop text begins with. */
  private beginningOfStop(text: string): number {
    const longest = Math.max(0, ...this.stops.map((stop) => Math.min(stop.length - 1, text.length)))
    for (let length = longest; length > 0; length--) {
      const end = text.slice(-length)
      if (this.stops.some((stop) => stop.startsWith(end))) return length
    }
    return 0
  }
}
