import { execFile } from 'node:child_process'
import { messageOf } from './errors.ts'

/** What a child process left behind. */
export interface Finished {
  code: number | null
  /** The signal that ended it, or null. */
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Why it could not be started, or was ended by the signal; null otherwise. */
  failure: string | null
}

/** Runs a command to its end, without input; `signal` ends it before. */
export function execute(
  command: string,
  args: string[],
  options: { env?: Record<string, string | undefined>; signal?: AbortSignal } = {},
): Promise<Finished> {
  return new Promise((resolve) => {
    const all = { maxBuffer: Number.POSITIVE_INFINITY, ...options }
    const child = execFile(command, args, all, (error, stdout, stderr) => {
      process.off('exit', end)
      const failure = typeof error?.code === 'string' ? messageOf(error) : null // ENOENT, say, not a number
      resolve({ code: child.exitCode, signal: child.signalCode, stdout, stderr, failure })
    })
    const end = () => child.kill()
    child.stdin?.end()
    process.once('exit', end) // or it would go on alone
  })
}
