import { execFile } from 'node:child_process'
import { messageOf } from '../src/errors.ts'

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

/** Who runs other processes. */
export interface Parent {
  /** Ends them. */
  signal: AbortSignal
  /** Told of one that a signal ended which nobody here sent. */
  onDeath?(sentence: string): void
}

export function runCommand(command: string, args: string[], { signal, onDeath }: Parent): Promise<Finished> {
  return new Promise((resolve) => {
    const child = execFile(
      command,
      args,
      { signal, maxBuffer: Number.POSITIVE_INFINITY },
      (error, stdout, stderr) => {
        process.off('exit', end)
        const { exitCode: code, signalCode } = child
        if (signalCode && !signal.aborted)
          onDeath?.(`${[command, ...args].join(' ')} was ended by ${signalCode}`)
        const failure = typeof error?.code === 'string' ? messageOf(error) : null // ENOENT, say, not a number
        resolve({ code, signal: signalCode, stdout, stderr, failure })
      },
    )
    const end = () => child.kill()
    child.stdin?.end()
    process.once('exit', end) // or it would go on alone
  })
}

/** How a command that failed came to its end, with its last words. */
export function ending({ code, signal, stdout, stderr }: Finished): string {
  const words = lastLine(stderr).replace(/^error: /, '') || lastLine(stdout) || 'it said nothing'
  return `${signal ? `was ended by ${signal}` : `ended with code ${code}`} (${words})`
}

export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
