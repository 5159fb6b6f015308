import { Presets, SingleBar } from 'cli-progress'

/** Told the share of the whole that is done, 0 to 1, and what is being done. */
export type OnProgress = (share: number, what: string) => void

/** Shows work under a name as a bar on stderr, on a terminal only. */
export async function withProgress<T>(
  name: string,
  work: (onProgress: OnProgress) => Promise<T>,
): Promise<T> {
  const bar = new SingleBar(
    { format: `${name} [{bar}] {what}`, stream: process.stderr, clearOnComplete: true, hideCursor: true },
    Presets.rect,
  )
  bar.start(1, 0, { what: '' })
  try {
    return await work((share, what) => bar.update(share, { what }))
  } finally {
    bar.stop()
  }
}
