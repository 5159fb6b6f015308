/** Thrown into work that would not end in time. */
export class TookTooLong extends Error {}

/** Before this much of a piece of work is done, its speed is not known. */
const TELLING_MS = 1000

/** The time for work in several pieces, none of which is gone on with where it would not end in time. */
export class TimeLimit {
  private readonly started: number

  constructor(
    private readonly mostMs: number,
    private readonly now = () => performance.now(),
  ) {
    this.started = now()
  }

  get spentMs(): number {
    return this.now() - this.started
  }

  /** For one piece of work: to be called with the share of it that is done. */
  watch(): (share: number) => void {
    const before = this.spentMs
    return (share) => {
      const ms = this.spentMs - before
      const wholeMs = share > 0 ? ms / share : ms
      if (ms < TELLING_MS || before + wholeMs <= this.mostMs) return
      throw new TookTooLong(
        `would take about ${(wholeMs / 1000).toPrecision(2)} s of ${(this.mostMs / 1000).toPrecision(2)} s for all`,
      )
    }
  }
}
