/** Exit code of a program ended by Ctrl-C, as shells have it: 128 + SIGINT. */
export const INTERRUPTED = 130

/**
 * Runs work that can end early and still show what it has: the first Ctrl-C aborts the signal and makes the exit code
 * 130, the second one ends the process.
 */
export async function interruptible(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController()
  const onInterrupt = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED)
    process.exitCode = INTERRUPTED
    controller.abort()
  }
  process.on('SIGINT', onInterrupt)
  try {
    await work(controller.signal)
  } finally {
    process.off('SIGINT', onInterrupt)
  }
}
