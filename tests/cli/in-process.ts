import { Command, CommanderError } from 'commander'
import { vi } from 'vitest'
import { TinymoeError } from '../../src/errors.ts'

/** What a command said; `error` is the sentence it ended with and its exit code. */
export interface Said {
  stdout: string
  error: { message: string; exitCode: number } | null
}

/**
 * Runs one command in this process, where a process of its own would spend its time starting up. What main.ts adds around
 * it has tests of its own. Not for tests that run at the same time: stdout is everybody's.
 */
export async function said(register: (program: Command) => void, ...args: string[]): Promise<Said> {
  const program = new Command('tinymoe').option('--json').option('--debug').option('--device <name>')
  program.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} })
  register(program)
  let stdout = ''
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation((text, ...rest) => {
      stdout += text
      const done = rest.find((value) => typeof value === 'function') as (() => void) | undefined
      done?.()
      return true
    }),
    vi.spyOn(process.stderr, 'write').mockImplementation(() => true),
  ]
  try {
    await program.parseAsync(args, { from: 'user' })
    return { stdout, error: null }
  } catch (error) {
    if (error instanceof CommanderError) {
      return { stdout, error: { message: error.message.replace(/^error: /, ''), exitCode: 2 } }
    }
    if (error instanceof TinymoeError) {
      return { stdout, error: { message: error.message, exitCode: error.exitCode } }
    }
    throw error
  } finally {
    for (const spy of spies) spy.mockRestore()
  }
}
