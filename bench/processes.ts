import { spawn } from 'node:child_process'
import { messageOf } from '../src/errors.ts'

/** What a child process left behind. */
export interface Finished {
  code: number | null
  stdout: string
  stderr: string
  /** Why it could not be started, or was ended by the signal; null otherwise. */
  failure: string | null
}

export function runCommand(command: string, args: string[], signal: AbortSignal): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], signal })
    const finished: Finished = { code: null, stdout: '', stderr: '', failure: null }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      finished.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      finished.stderr += text
    })
    child.on('error', (error) => resolve({ ...finished, failure: messageOf(error) }))
    child.on('close', (code) => resolve({ ...finished, code }))
  })
}

export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
