import { spawn } from 'node:child_process'
import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { said } from './in-process.ts'
import { COMMAND, MIXTRAL, outcomeOf, PATIENT, REPOSITORY, tinymoe } from './run-cli.ts'

describe('a number beyond its limit is refused when it is read', () => {
  test.each<[args: string[], message: string]>([
    [['bench', '--experts', '1e9'], "'1e9' is invalid. Expected a whole number from 1 to 4096."],
    [['bench', '--dim', '1e9'], "'1e9' is invalid. Expected a whole number from 1 to 1000000."],
    [['bench', '--scale', '1e1'], 'Expected a share above 0 and up to 1,'],
    [['train', '--preset', 'moe', '--steps', '1e12'], 'Expected a whole number from 1 to 100000000.'],
    [['train', '--preset', 'moe', '--minutes', '1e9'], 'Expected a number above 0 and up to 527040.'],
    [['eval', MIXTRAL, '--samples', '1e9'], 'Expected a whole number from 1 to 10000.'],
    [['generate', MIXTRAL, '--max-tokens', '1e15'], 'Expected a whole number from 1 to 10000000.'],
    [['generate', MIXTRAL, '--temperature', '1e99'], 'Expected a number from 0 to 1000.'],
    [['trace', MIXTRAL, '--width', '1e9'], 'Expected a whole number from 20 to 10000.'],
    [['trace', MIXTRAL, '--capacity', '1e9'], 'Expected a factor above 0 and up to 1000000.'],
    [['inspect', MIXTRAL, '--context', '1e300'], 'Expected a whole number from 1 to 10000000.'],
    [['cost', '--tokens', '1e300'], 'Expected a positive amount up to 1000000T,'],
    [['cost', '--price', '1e300'], 'Expected dollars above 0 and up to 1000000.'],
  ])('%j', async (args, message) => {
    const { stdout, error } = await said((await COMMANDS[args[0]][2]()).register, ...args)
    expect(error?.message).toContain(message)
    expect([stdout, error?.exitCode]).toEqual(['', 2])
  })
})

test('every flag that takes one number has a limit', async () => {
  const program = new Command('tinymoe')
  for (const [, , load] of Object.values(COMMANDS)) (await load()).register(program)
  const parsed = program.commands.flatMap((command) =>
    command.options.flatMap((option) =>
      option.parseArg ? [{ name: `${command.name()} ${option.long}`, parse: option.parseArg }] : [],
    ),
  )
  expect(parsed.length).toBeGreaterThan(30)
  const unlimited = parsed.filter(({ parse }) => {
    try {
      return typeof parse('1e300', undefined) === 'number'
    } catch {
      return false
    }
  })
  expect(unlimited).toEqual([])
})

describe.concurrent('a size beyond the machine is refused before work starts', PATIENT, () => {
  test.for<[args: string[], message: RegExp]>([
    [
      ['bench', '--tokens', '100000000', '--device', 'cpu'],
      /--tokens 100000000: a case of so many in a layer of D=512 H=1024 K=2 needs about [\d,.]+ GB of memory, and [\d.]+ GB may be used$/,
    ],
    [
      ['bench', '--dim', '1e6', '--hidden', '1e6', '--device', 'js'],
      /--experts 16 --dim 1000000 --hidden 1000000: the layer needs about [\d,]+ GB of memory, and /,
    ],
    [
      ['train', '--preset', 'moe', '--batch', '999999999'],
      /--batch 999999999 --length 256: a step needs about [\d,]+ GB of memory, and [\d.]+ GB may be used$/,
    ],
    [
      ['train', '--preset', 'moe', '--length', '99999'],
      /--length 99999: expected at most 1024, the positions of the model$/,
    ],
    [
      ['doctor', '--threads', '20000'],
      /--threads <n>' argument '20000' is invalid\. Expected a whole number from 1 to 1024\.$/,
    ],
  ])('%j', async ([args, message], { expect }) => {
    const { code, stdout, stderr } = await tinymoe(...args)
    expect(stderr.split('\n')[0]).toMatch(message)
    expect(stdout).toBe('')
    expect([1, 2]).toContain(code)
  })

  test('threads by a variable too', async ({ expect }) => {
    const [node, ...main] = COMMAND
    const args = [...main, 'generate', MIXTRAL, '--tokens', '1', '--device', 'cpu']
    const env = { ...process.env, TINYMOE_THREADS: '20000' }
    const { code, stderr } = await outcomeOf(spawn(node, args, { cwd: REPOSITORY, env, stdio: 'pipe' }))
    expect([code, stderr]).toEqual([
      1,
      'error: TINYMOE_THREADS: 20000 is no number of threads; expected a whole number from 1 to 1024\n',
    ])
  })

  test('numbers in exponent form are numbers', async ({ expect }) => {
    const run = ['generate', MIXTRAL, '--device', 'js', '--json']
    const [plain, exponents] = await Promise.all([
      tinymoe(...run, '--tokens', '10,20', '--max-tokens', '10', '--temperature', '0.5'),
      tinymoe(...run, '--tokens', '1e1,2e1', '--max-tokens', '1e1', '--temperature', '5e-1'),
    ])
    expect(exponents.stderr).toBe(plain.stderr)
    expect(JSON.parse(exponents.stdout).tokens).toEqual(JSON.parse(plain.stdout).tokens)
  })
})
