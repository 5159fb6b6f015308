import { type Command, CommanderError } from 'commander'
import { messageOf, TinymoeError, UsageError } from '../errors.ts'
import { escaped } from '../text/foreign.ts'

/** How a command is used, to be shown after an error. */
export function usage(command: Command): string {
  const names: string[] = []
  for (let at: Command | null = command; at; at = at.parent) names.unshift(at.name())
  const name = names.join(' ')
  return `usage: ${name} ${command.usage()}\n(${name} --help lists arguments and options)`
}

/** Says on stderr what went wrong, and returns the exit code. */
export function report(error: unknown, debug: boolean, command: Command): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2 // commander has printed it
  const known = error instanceof TinymoeError
  const hint = known ? '' : ' (a fault of tinymoe; --debug shows where)'
  process.stderr.write(
    debug && error instanceof Error ? `${error.stack}\n` : `error: ${escaped(messageOf(error))}${hint}\n`,
  )
  if (error instanceof UsageError) process.stderr.write(`${usage(command)}\n`)
  return known ? error.exitCode : 1
}
