import type { Generated, GeneratedToken, GenerateResult } from './types.ts'

/** One run read by any number of readers: all see every token, and whoever needs the next one makes it happen. */
export class GenerateRun implements GenerateResult {
  private readonly tokens: GeneratedToken[] = []
  private failure: { error: unknown } | null = null
  private ending: Promise<Generated> | null = null

  /** @param outcome called when `steps` has ended */
  constructor(
    private readonly steps: AsyncGenerator<GeneratedToken, void>,
    private readonly outcome: () => Generated,
  ) {}

  get done(): Promise<Generated> {
    this.ending ??= this.runToEnd()
    return this.ending
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void> {
    try {
      for (let next = 0; await this.reaches(next); next++) yield this.tokens[next]
    } finally {
      await this.steps.return() // no effect after the end
    }
  }

  /** Whether there is a token at this index, made by this reader or meanwhile by another. */
  private async reaches(index: number): Promise<boolean> {
    if (index >= this.tokens.length) await this.step()
    return index < this.tokens.length
  }

  private async runToEnd(): Promise<Generated> {
    while (await this.step());
    return this.outcome()
  }

  /** Makes one more token happen; false at the end. Calls that overlap are answered in turn. */
  private async step(): Promise<boolean> {
    try {
      const { value, done } = await this.steps.next()
      // After a failure the generator says no more than that it has ended.
      if (this.failure) throw this.failure.error
      if (!done) this.tokens.push(value)
      return !done
    } catch (error) {
      this.failure = { error }
      throw error
    }
  }
}
