import { Presets, SingleBar } from 'cli-progress'
import { remark } from './output.ts'

/** Told the share of the whole that is done, 0 to 1, and what is being done. */
export type OnProgress = (share: number, what: string) => void

/** Without a terminal, a line so often. */
const LINE_EVERY_MS = 10_000

/** Shows work under a name on stderr: as a bar on a terminal, elsewhere as lines, so that a log shows where it is. */
export async function withProgress<T>(
  name: string,
  work: (onProgress: OnProgress) => Promise<T>,
): Promise<T> {
  const bar = new SingleBar(
    { format: `${name} [{bar}] {what}`, stream: process.stderr, clearOnComplete: true, hideCursor: true },
    Presets.rect,
  )
  const lines = progressLines()
  bar.start(1, 0, { what: '' })
  try {
    return await work((share, what) => {
      bar.update(share, { what })
      lines.show(`${name} ${Math.floor(100 * share)} %  ${what}`)
    })
  } finally {
    lines.stop()
    bar.stop()
  }
}

/** Lines about work that goes on, on stderr; none on a terminal that shows it otherwise. */
export interface ProgressLines {
  /** Where the work is: written when ten seconds have passed since the last line or the first call, or `now`. */
  show(line: string, now?: boolean): void
  stop(): void
}

export function progressLines(shownOtherwise = process.stderr.isTTY): ProgressLines {
  let written = Number.POSITIVE_INFINITY
  let latest: string | null = null
  const write = (now = false) => {
    if (shownOtherwise || latest === null || (!now && performance.now() - written < LINE_EVERY_MS)) return
    remark(latest)
    written = performance.now()
  }
  const timer = setInterval(() => write(), LINE_EVERY_MS / 10).unref() // work that waits for other processes tells nothing meanwhile
  return {
    show(line, now) {
      if (latest === null) written = performance.now()
      latest = line
      write(now)
    },
    stop: () => clearInterval(timer),
  }
}
