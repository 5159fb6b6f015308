import type { Tokenizer } from '../tokenizer/tokenizer.ts'

const REPLACEMENT = '\uFFFD'

/** Tokens of the prompt, marks not counted, that the first new token is decoded with. */
const PROMPT_CONTEXT = 6

/**
 * Turns tokens into text piece by piece: together the pieces are what decoding prompt and tokens at once adds to the decoded
 * prompt. A token is decoded behind the ones before it, since spaces and characters may span tokens; what ends in a broken
 * character or among bytes waits for the next token.
 */
export class TextStream {
  /** Tokens already given out, kept so that the next ones read as their continuation. */
  private context: number[]
  private pending: number[] = []

  constructor(
    private readonly tokenizer: Tokenizer,
    prompt: readonly number[],
  ) {
    this.context = this.endOf(prompt)
  }

  /** The text that is certain with this token; '' while a character is incomplete. */
  async push(token: number): Promise<string> {
    this.pending.push(token)
    if (this.isAmongBytes()) return ''
    const text = await this.pendingText()
    if (text === '' || text.endsWith(REPLACEMENT)) return ''
    this.context = this.pending
    this.pending = []
    return text
  }

  /** What is left at the end, broken characters as U+FFFD. */
  async flush(): Promise<string> {
    const text = await this.pendingText()
    this.pending = []
    return text
  }

  /** What the pending tokens add. An incomplete character at the context's end may be another one now. */
  private async pendingText(): Promise<string> {
    if (this.pending.length === 0) return ''
    const [before, both] = await Promise.all([
      this.tokenizer.decode(this.context),
      this.tokenizer.decode([...this.context, ...this.pending]),
    ])
    return both.slice(commonStart(before, both))
  }

  /** Whether the last token that is no mark is a byte: whether a run of bytes is text is known only at its end. */
  private isAmongBytes(): boolean {
    const last = [...this.context, ...this.pending].findLast((token) => this.tokenizer.isText(token))
    return last !== undefined && this.tokenizer.isByte(last)
  }

  /** The last tokens of a prompt: some that are no marks, and no part of a run of bytes. */
  private endOf(prompt: readonly number[]): number[] {
    let from = prompt.length
    for (let left = PROMPT_CONTEXT; from > 0 && left > 0; ) if (this.tokenizer.isText(prompt[--from])) left--
    while (from > 0 && (this.tokenizer.isByte(prompt[from]) || !this.tokenizer.isText(prompt[from]))) from--
    return prompt.slice(from)
  }
}

/** UTF-16 units that two texts have in common from the start, without a half of a pair. */
function commonStart(left: string, right: string): number {
  let length = 0
  while (length < left.length && left[length] === right[length]) length++
  return /[\uD800-\uDBFF]/.test(right[length - 1] ?? '') ? length - 1 : length
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
