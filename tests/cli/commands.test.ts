import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { addCommands, COMMANDS } from '../../src/cli/commands.ts'

/** Names of the commands that are loaded for these arguments. */
async function loadedFor(...args: string[]): Promise<string[]> {
  const program = new Command('tinymoe').option('--json').option('--device <name>').exitOverride()
  await addCommands(program, args)
  return program.commands.map((command) => command.name())
}

test.each(Object.keys(COMMANDS))('the module of %s adds the command of that name', async (name) => {
  expect(await loadedFor(name)).toEqual([name])
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
    'and all of them for %j',
    async (args) => {
      expect(await loadedFor(...args)).toEqual(Object.keys(COMMANDS))
    },
  )
})
