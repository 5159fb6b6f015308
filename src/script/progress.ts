import progress, { SingleBar } from 'cli-progress'
import { remark } from './output.ts'

/** Told the share of the whole that is done, 0 to 1, and what is being done. */
export type OnProgress = (share: number, what: string) => void

/** Without a terminal, a line so often. */
const LINE_EVERY_MS = 10_000

/** Shows work on stderr: as a bar on a terminal, elsewhere as lines, so that a log shows where it is. */
export interface Progress {
  /** The share that is done (null where nobody knows: no bar), and in words where the work is; `line`, `now`: as `ProgressLines.show`. */
  show(share: number | null, what: string, line?: string, now?: boolean): void
  stop(): void
}

/** `clear`: nothing of the bar is left at the end. */
export function startProgress(name: string, clear = false): Progress {
  const format: progress.GenericFormatter = (options, { progress: done }, { known, what }) =>
    [name, ...(known ? [`[${progress.Format.BarFormat(done, options)}]`] : []), what].join(' ')
  const bar = new SingleBar(
    {
      format,
      stream: process.stderr,
      clearOnComplete: clear,
      hideCursor: true,
      linewrap: false,
      barsize: 20,
    },
    progress.Presets.rect,
  )
  const lines = progressLines()
  bar.start(1, 0, { known: false, what: '' })
  return {
    show(share, what, line = `${name} ${Math.floor(100 * (share ?? 0))} %  ${what}`, now = false) {
      bar.update(share ?? 0, { known: share !== null, what })
      lines.show(line, now)
    },
    stop() {
      lines.stop()
      bar.stop()
    },
  }
}

/** The same around work that ends. */
export async function withProgress<T>(
  name: string,
  work: (onProgress: OnProgress) => Promise<T>,
): Promise<T> {
  const shown = startProgress(name, true)
  try {
    return await work(shown.show)
  } finally {
    shown.stop()
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
