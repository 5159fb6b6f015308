import { execute, type Finished } from '../src/processes.ts'

export type { Finished }

/** Who runs other processes. */
export interface Parent {
  /** Ends them. */
  signal: AbortSignal
  /** Told of one that a signal ended which nobody here sent. */
  onDeath?(sentence: string): void
}

export async function runCommand(
  command: string,
  args: string[],
  { signal, onDeath }: Parent,
): Promise<Finished> {
  const finished = await execute(command, args, { signal })
  if (finished.signal && !signal.aborted)
    onDeath?.(`${[command, ...args].join(' ')} was ended by ${finished.signal}`)
  return finished
}

/** How a command that failed came to its end, with its last words. */
export function ending({ code, signal, stdout, stderr }: Finished): string {
  const words = lastLine(stderr).replace(/^error: /, '') || lastLine(stdout) || 'it said nothing'
  return `${signal ? `was ended by ${signal}` : `ended with code ${code}`} (${words})`
}

export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
