import { emitKeypressEvents, type Key } from 'node:readline'
import type { ReadStream, WriteStream } from 'node:tty'
import { exitCodeOf, takeSignals } from '../signals.ts'

const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l' // alternate screen, no cursor, no wrapping
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l'

/** What a full-screen program shows and does. */
export interface Screen {
  /** Lines for a terminal of this size. */
  draw(width: number, height: number): string[]
  /** Returns the exit code to leave with, or null to go on. */
  key(key: Key): number | null
}

/**
 * Shows a screen until it wants to leave, and gives the terminal back as it was: after a key, a signal, the end of the
 * input, an error, or an exit from elsewhere. Resolves to the exit code, 128 + n for signal n as shells have it.
 */
export async function runScreen(screen: Screen, input: ReadStream, output: WriteStream): Promise<number> {
  const draw = () => {
    const lines = screen.draw(output.columns || 80, output.rows || 24) // 0 where nobody told the terminal its size
    output.write(`\x1b[H${lines.map((line) => `${line}\x1b[K`).join('\r\n')}\x1b[J`)
  }
  let open = true
  const restore = () => {
    if (open) output.write(LEAVE)
    if (open) input.setRawMode(false)
    open = false
  }
  const undo: (() => void)[] = []
  process.on('exit', restore) // an uncaught error or process.exit comes this way
  try {
    return await new Promise<number>((resolve, reject) => {
      const guarded =
        <A extends unknown[]>(f: (...args: A) => void) =>
        (...args: A) => {
          try {
            f(...args)
          } catch (error) {
            reject(error)
          }
        }
      const onKey = guarded((_: string | undefined, key: Key) => {
        const code = screen.key(key)
        if (code === null) draw()
        else resolve(code)
      })
      const onResize = guarded(draw)
      const onEnd = () => resolve(0)
      emitKeypressEvents(input)
      input.on('keypress', onKey).on('end', onEnd).on('error', onEnd)
      output.on('resize', onResize)
      undo.push(takeSignals((signal) => resolve(exitCodeOf(signal))))
      undo.push(() => input.off('keypress', onKey).off('end', onEnd).off('error', onEnd))
      undo.push(() => output.off('resize', onResize))
      input.setRawMode(true)
      input.resume()
      output.write(ENTER)
      guarded(draw)()
    })
  } finally {
    input.pause() // or the process would wait for more keys
    for (const off of undo) off()
    restore()
    process.off('exit', restore)
  }
}
