import { type EndingSignal, exitCodeOf, takeSignals } from '../signals.ts'
import { remark } from './output.ts'

/** What a progress bar changes in a terminal: the cursor is shown, and lines are wrapped. */
const GIVE_BACK = '\x1b[?25h\x1b[?7h'

/**
 * From now on, until the returned function is called, a signal ends the process with a sentence and the code that shells have for
 * it, whatever is unfinished.
 */
export function endBySignals(): () => void {
  return takeSignals((signal) => {
    say(`ended by ${signal}`)
    process.exit(exitCodeOf(signal))
  })
}

/**
 * Runs work that can end early and still keep what it has: the first signal (Ctrl-C, SIGTERM, SIGHUP) aborts the
 * AbortSignal, sets the exit code and says `what` becomes of the work, whose AbortError ends here; the second one ends the process.
 */
export async function interruptible(
  what: string,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController()
  const release = takeSignals((signal: EndingSignal) => {
    release(true)
    say(`interrupted by ${signal}: ${what}; another one ends at once`)
    process.exitCode = exitCodeOf(signal)
    controller.abort()
  })
  try {
    await work(controller.signal)
  } catch (error) {
    if (!controller.signal.aborted || (error as Error).name !== 'AbortError') throw error
  } finally {
    if (!controller.signal.aborted) release()
  }
}

function say(sentence: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${GIVE_BACK}\n`) // below what Ctrl-C or a bar left in the line
  remark(sentence)
}
