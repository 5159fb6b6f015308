import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'vitest'
import { MIXTRAL, PATIENT, REPOSITORY, tinymoe } from './run-cli.ts'

const { version } = JSON.parse(readFileSync(join(REPOSITORY, 'package.json'), 'utf8'))

describe.concurrent('tinymoe', PATIENT, () => {
  test('--version is that of package.json', async ({ expect }) => {
    expect(await tinymoe('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  test('without a command shows its help on stderr and exits 2', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe()
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toMatch(/^Usage: tinymoe \[options\] \[command\]\n/)
    expect(stderr).toContain('Examples:\n  $ tinymoe generate ')
  })

  test('generate --help shows its options, the global ones and examples', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe('generate', '--help')
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^Usage: tinymoe generate \[options\] <model>\n/)
    for (const part of ['--dispatch <name>', 'Global Options:', '--device <name>', 'Examples:']) {
      expect(stdout).toContain(part)
    }
  })

  test.for<[message: string, command: string, args: string[]]>([
    ["error: unknown command 'logitz'\n(Did you mean logits?)", '', ['logitz']],
    [
      "error: unknown option '--maxtokens'\n(Did you mean --max-tokens?)",
      'generate',
      [MIXTRAL, '--maxtokens', '3'],
    ],
    ["error: missing required argument 'model'", 'logits', ['--tokens', '1']],
    [
      "error: option '--max-tokens <n>' argument '3x' is invalid. Expected a whole number from 1 to 10000000.",
      'generate',
      [MIXTRAL, '--tokens', '1', '--max-tokens', '3x'],
    ],
    [
      "error: option '--tokens <ids>' argument '' is invalid. Expected token ids separated by commas, such as 1,2,3.",
      'logits',
      [MIXTRAL, '--tokens', ''],
    ],
    [
      'error: generate takes either --prompt or --tokens',
      'generate',
      [MIXTRAL, '--tokens', '1', '--prompt', 'a'],
    ],
    ['error: logits needs --tokens, at least once', 'logits', [MIXTRAL]],
    [
      "error: option '--device <name>' argument 'gpu' is invalid. Allowed choices are cuda, cpu, wasm, js.",
      '',
      ['logits', MIXTRAL, '--device', 'gpu'],
    ],
  ])('%s', async ([message, command, args], { expect }) => {
    const { code, stdout, stderr } = await tinymoe(...(command ? [command, ...args] : args))
    const usage = command ? `tinymoe ${command} [options] <model>` : 'tinymoe [options] [command]'
    const more = command ? `tinymoe ${command} --help` : 'tinymoe --help'
    expect(stderr).toBe(`${message}\nusage: ${usage}\n(${more} lists arguments and options)\n`)
    expect([code, stdout]).toEqual([2, ''])
  })
})
