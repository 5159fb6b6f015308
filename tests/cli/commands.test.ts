import { Command, Help } from 'commander'
import { describe, expect, test } from 'vitest'
import { addCommands, COMMANDS } from '../../src/cli/commands.ts'

/** Names of the commands that are loaded for these arguments. */
async function loadedFor(...args: string[]): Promise<string[]> {
  const program = new Command('tinymoe').option('--json').option('--device <name>').exitOverride()
  await addCommands(program, args)
  return program.commands.map((command) => command.name())
}

describe.each(Object.keys(COMMANDS))('%s', (name) => {
  test('is added by its module', async () => {
    expect(await loadedFor(name)).toEqual([name])
  })

  test('is listed as its module has it', async () => {
    const program = new Command('tinymoe').exitOverride()
    await addCommands(program, [name])
    const [command] = program.commands
    expect(new Help().subcommandTerm(command)).toBe(`${name} ${COMMANDS[name][0]}`.trim())
    expect(command.description()).not.toBe('')
  })
})

describe('only the command that is named is loaded', () => {
  test.each([
    [['logits', 'dir', '--tokens', '1']],
    [['--json', 'logits', 'dir', '--help']],
    [['--device', 'cpu', 'logits']],
    [['help', 'logits']],
  ])('%j', async (args) => {
    expect(await loadedFor(...args)).toEqual(['logits'])
  })

  test.each([[[]], [['--help']], [['help']], [['logitz']], [['constructor']], [['--device', 'logits']]])(
    'and none, but all are listed, for %j',
    async (args) => {
      expect(await loadedFor(...args)).toEqual(Object.keys(COMMANDS))
    },
  )
})
