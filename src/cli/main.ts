#!/usr/bin/env node
import { createRequire } from 'node:module'
import { Command } from 'commander'
import { report, usage } from '../script/failure.ts'
import { addFlags, GLOBAL, type GlobalOptions } from '../script/flags.ts'
import { endBySignals } from '../script/interrupt.ts'
import { onBrokenOutput } from '../script/output.ts'
import { addCommands } from './commands.ts'

const { version, description } = createRequire(import.meta.url)('tinymoe/package.json')

const EXAMPLES = `
Examples:
  $ tinymoe generate models/moe --prompt "Once upon a time"
  $ tinymoe logits models/moe --tokens 1,5,34 --trace --json

Wrong usage exits 2, any other error 1, Ctrl-C 130, SIGTERM 143, SIGHUP 129. \`tinymoe <command> --help\` has more.
`

function createProgram(): Command {
  const program = addFlags(new Command('tinymoe').version(version), GLOBAL)
    .description(description)
    .usage('[options] [command]') // also before any command is loaded
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', EXAMPLES)
    .exitOverride()
    .hook('preAction', (_, command) => {
      const { debug, threads } = command.optsWithGlobals<GlobalOptions>()
      if (debug) process.env.TF_CPP_MIN_LOG_LEVEL ??= '0'
      if (threads) process.env.TINYMOE_THREADS = String(threads) // read by whatever starts the runtime
    })
  return program.showHelpAfterError(usage(program))
}

function showUsageAfterErrors(command: Command): void {
  for (const subcommand of command.commands) showUsageAfterErrors(subcommand)
  command.showHelpAfterError(usage(command))
}

/** Runs the command line; the exit code is 0 unless a command sets another. */
async function main(): Promise<void> {
  const program = createProgram()
  let current = program
  program.hook('preAction', (_, command) => {
    current = command
  })
  onBrokenOutput()
  endBySignals()
  try {
    await addCommands(program, process.argv.slice(2))
    showUsageAfterErrors(program)
    await program.parseAsync()
  } catch (error) {
    process.exitCode = report(error, program.opts().debug === true, current)
  }
}

await main()
