import type { Command } from 'commander'
import { TinymoeError } from '../errors.ts'
import { report, usage } from './failure.ts'
import { endBySignals } from './interrupt.ts'
import { onBrokenOutput } from './output.ts'

/**
 * Runs a script that is one command with an action, and ends as `tinymoe` does: bad input is a sentence on stderr, with
 * exit code 2 for wrong usage, else 1. Scripts have no --debug: anything else that is thrown shows where.
 */
export async function runScript(program: Command, args = process.argv.slice(2)): Promise<void> {
  program.exitOverride().showHelpAfterError(usage(program))
  onBrokenOutput()
  const release = endBySignals()
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error, !(error instanceof TinymoeError), program)
  } finally {
    release()
  }
}
