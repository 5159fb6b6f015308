import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundledModel } from '../../bench/store.ts'
import { benchOptions, registerBench } from '../../src/cli/bench.ts'
import { UsageError } from '../../src/errors.ts'
import { FIXTURES } from '../helpers/golden.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-command-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const FLAGS = { tokens: [1, 16], dim: 512, hidden: 1024, experts: 16, topK: 2 }

describe('flags', () => {
  /** Parses as the command line does; the bench itself does not run when a flag is wrong. */
  async function parse(...flags: string[]): Promise<void> {
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} })
    registerBench(program)
    for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => {} })
    await program.parseAsync(['bench', ...flags], { from: 'user' })
  }

  test.each([
    ['--tokens', '0'],
    ['--tokens', '1,,2'],
    ['--tokens', '1,x'],
    ['--dim', '-3'],
    ['--hidden', '1.5'],
    ['--experts', '1e99'],
    ['--top-k', ''],
  ])('%s %j is refused with what is expected', async (flag, value) => {
    await expect(parse(flag, value)).rejects.toThrow(
      /argument '.*' is invalid\. Expected a whole number from 1\./,
    )
  })

  test('more experts a token than there are is refused with both numbers', async () => {
    await expect(parse('--top-k', '17')).rejects.toThrow(UsageError)
    await expect(parse('--top-k', '3', '--experts', '2')).rejects.toThrow(
      '--top-k 3: a token cannot go to more experts than there are (--experts 2)',
    )
  })

  test('a model directory that is not there is one sentence', async () => {
    await expect(parse('--quick', '--model', join(folder, 'nowhere'), '--tokens', '1')).rejects.toThrow(
      /nowhere: no such directory/,
    )
  })

  test('defaults: the bundled model, no peers', () => {
    expect(benchOptions(FLAGS)).toMatchObject({ model: bundledModel(), python: null, quick: false })
    expect(existsSync(join(bundledModel(), 'config.json'))).toBe(true)
  })

  test('--python names the interpreter of the peers', () => {
    expect(benchOptions({ ...FLAGS, peers: true, python: '/opt/python' }).python).toBe('/opt/python')
    expect(benchOptions({ ...FLAGS, python: '/opt/python' }).python).toBeNull()
  })
})

describe('as a process', () => {
  const small = [
    '--device',
    'js',
    'bench',
    '--model',
    join(FIXTURES, 'mixtral'),
    '--dim',
    '16',
    '--hidden',
    '8',
    '--experts',
    '4',
  ]

  function start(...flags: string[]) {
    const script = fileURLToPath(new URL('run-bench.ts', import.meta.url))
    return spawn(process.execPath, ['--import', 'tsx', script, ...flags], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }

  test('prints tables and the conclusion last, stores both files, and shows no progress off a terminal', async () => {
    const child = start(...small, '--quick', '--tokens', '4', '--out', folder)
    const code = new Promise((resolve) => child.on('close', resolve))
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
    expect([await code, stderr]).toEqual([0, 'listening\n'])
    const stored = JSON.parse(readFileSync(join(folder, 'js-quick.json'), 'utf8'))
    expect(stdout.endsWith(`\n\n${stored.conclusion}\n`)).toBe(true)
    expect(stdout).toContain('One layer, op by op: D=16 H=8 E=4 K=2')
    expect(readFileSync(join(folder, 'js-quick.md'), 'utf8')).toContain(stored.conclusion)
  })

  test('Ctrl-C stores and prints what is done, marked as interrupted, and exits 130', async () => {
    const child = start(...small, '--json', '--tokens', '1,2,4,8,16,32', '--out', folder)
    const code = new Promise((resolve) => child.on('close', resolve))
    const output = Promise.all([text(child.stdout), text(child.stderr)])
    // Six sizes of a layer and a model at 12 s each: the signal comes long before the end.
    child.stderr.once('data', () => setTimeout(() => child.kill('SIGINT'), 2000))
    const [stdout, stderr] = await output
    expect([await code, stderr]).toEqual([130, 'listening\n'])
    const printed = JSON.parse(stdout)
    expect(printed.interrupted).toBe(true)
    expect(JSON.parse(readFileSync(join(folder, 'js.json'), 'utf8'))).toEqual(printed)
  })
})
