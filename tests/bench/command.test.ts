import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundledModel } from '../../bench/store.ts'
import { benchOptions, register as registerBench } from '../../src/cli/bench.ts'
import { UsageError } from '../../src/errors.ts'
import { ENDING_SIGNALS, exitCodeOf } from '../../src/signals.ts'
import { FIXTURES } from '../helpers/golden.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-command-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const FLAGS = { preset: 'default' as const }

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
    ['--dim', '8,,16'],
    ['--experts', '4,x'],
    ['--hidden', '1.5'],
    ['--experts', '1e99'],
    ['--top-k', ''],
  ])('%s %j is refused with what is expected', async (flag, value) => {
    await expect(parse(flag, value)).rejects.toThrow(
      /argument '.*' is invalid\. Expected a whole number from 1 to \d+\./,
    )
  })

  test('more experts a token than there are is refused with both numbers', async () => {
    await expect(parse('--top-k', '17')).rejects.toThrow(UsageError)
    await expect(parse('--top-k', '3', '--experts', '2')).rejects.toThrow(
      '--top-k 3: a token cannot go to more experts than there are (--experts 2)',
    )
    await expect(parse('--top-k', '2', '--experts', '8,4,1')).rejects.toThrow(
      '--top-k 2: a token cannot go to more experts than there are (--experts 8,4,1)',
    )
  })

  test('a list of a size has the layer first, and what is tried beside it', () => {
    expect(benchOptions({ ...FLAGS, experts: [16, 4, 64], topK: [2] }).layer).toEqual({
      dims: { D: 512, H: 1024, E: 16, K: 2 },
      sizes: { E: [16, 4, 64] },
      source: 'flags',
    })
  })

  test('a model directory that is not there is one sentence', async () => {
    await expect(parse('--quick', '--model', join(folder, 'nowhere'), '--tokens', '1')).rejects.toThrow(
      /nowhere: no such directory/,
    )
  })

  test.each([
    ['--scale', '0'],
    ['--scale', '3/2'],
    ['--scale', '1/'],
    ['--scale', 'half'],
    ['--assert', '0'],
    ['--preset', 'huge'],
    ['--only', 'layers'],
    ['--widths', 'float64'],
    ['--widths', 'none,int4'],
  ])('%s %j is refused', async (flag, value) => {
    await expect(parse(flag, value)).rejects.toThrow(/argument '.*' is invalid\./)
  })

  test.each([
    [['--quick', '--preset', 'full'], /--quick is --preset quick: leave out one/],
    [['--scale', '1/2'], /--scale needs --like/],
    [['--like', 'mixtral-8x7b', '--dim', '8'], /--like names all sizes/],
    [['--llama-bench', 'x'], /--llama-bench and --gguf belong together/],
    [['--gguf', 'x'], /--llama-bench and --gguf belong together/],
    [
      ['--assert', '2', '--only', 'decode'],
      /--assert is about the layer: leave out one of --assert and --only/,
    ],
  ])('%j do not go together', async (flags, sentence) => {
    const parsing = parse(...flags)
    await expect(parsing).rejects.toThrow(UsageError)
    await expect(parsing).rejects.toThrow(sentence)
  })

  test('--quick is a preset; flags and --like make the layer, the preset what they leave open', () => {
    expect(benchOptions({ ...FLAGS, quick: true }).preset).toBe('quick')
    expect(benchOptions({ ...FLAGS, dim: [64], experts: [4] }).layer).toEqual({
      dims: { D: 64, H: 1024, E: 4, K: 2 },
      sizes: {},
      source: 'flags',
    })
    expect(benchOptions({ ...FLAGS, like: 'mixtral-8x7b', scale: 1 / 16 }).layer).toMatchObject({
      dims: { D: 256, H: 896, E: 8, K: 2 },
    })
    expect(benchOptions({ ...FLAGS, llamaBench: 'a', gguf: 'b' }).llamaBench).toEqual({
      binary: 'a',
      gguf: 'b',
    })
  })

  test("defaults: the bundled model, the preset's layer, no peers", () => {
    expect(benchOptions(FLAGS)).toMatchObject({
      model: bundledModel(),
      python: null,
      llamaBench: null,
      preset: 'default',
      layer: null,
      tokens: null,
      assertFactor: null,
    })
    expect(existsSync(join(bundledModel(), 'config.json'))).toBe(true)
  })

  test('--widths names what the model is held in, or nothing', async () => {
    const option = (value: string) => {
      const program = new Command()
      registerBench(program)
      const command = program.commands[0].action(() => {})
      program.parse(['bench', '--widths', value], { from: 'user' })
      return benchOptions(command.opts()).widths
    }
    expect(option('int4,float32')).toEqual(['int4', 'float32'])
    expect(option('none')).toEqual([])
    expect(benchOptions(FLAGS).widths).toBeUndefined()
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

  test('prints tables and the conclusion last, stores files, writes lines where there is no terminal; a failed assertion is code 3', async () => {
    const child = start(
      ...small,
      '--quick',
      '--only',
      'layer',
      '--tokens',
      '4',
      '--assert',
      '1000',
      '--out',
      folder,
    )
    const code = new Promise((resolve) => child.on('close', resolve))
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
    expect(await code).toBe(3)
    expect(stderr).toMatch(/^listening\n(bench \d+ % {2}[^\n]+\n)*$/)
    const stored = JSON.parse(readFileSync(join(folder, 'js-quick.json'), 'utf8'))
    expect(stdout.replaceAll('\n', ' ').endsWith(`  ${stored.conclusion} `)).toBe(true)
    expect(stdout).toContain('One layer over tokens T. D=16 H=8 E=4 K=2, ')
    expect(stdout.replaceAll('\n', ' ')).toMatch(
      / At T=4 \(eager\) sparse is .* the 1000 asked for\.|not shown to be 1000 times/,
    )
    expect(readFileSync(join(folder, 'js-quick.md'), 'utf8')).toContain(stored.conclusion)
  })

  test.each(ENDING_SIGNALS)('%s stores and prints what is done, marked as interrupted', async (signal) => {
    const child = start(...small, '--json', '--tokens', '1,2,4,8,16,32', '--out', folder)
    const code = new Promise((resolve) => child.on('close', resolve))
    const output = Promise.all([text(child.stdout), text(child.stderr)])
    // The default preset takes minutes: the signal comes long before the end.
    child.stderr.once('data', () => setTimeout(() => child.kill(signal), 2000))
    const [stdout, stderr] = await output
    expect(await code).toBe(exitCodeOf(signal))
    expect(stderr).toContain(
      `interrupted by ${signal}: what is measured is stored; another one ends at once\n`,
    )
    const printed = JSON.parse(stdout)
    expect(printed.interrupted).toBe(true)
    expect(JSON.parse(readFileSync(join(folder, 'js.json'), 'utf8'))).toEqual(printed)
  })

  test.runIf(process.platform === 'linux')(
    'npm run bench: its last line tells that a signal ended it',
    async () => {
      const flags = ['--device', 'js', '--model', join(FIXTURES, 'mixtral'), '--out', folder]
      const npm = spawn('npm', ['run', 'bench', '--', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] })
      const said = text(npm.stderr)
      npm.stdout.resume()
      const code = new Promise((resolve) => npm.on('close', resolve))
      process.kill(await benchAmong(folder), 'SIGKILL')
      expect(await code).toBe(137)
      expect((await said).trim().split('\n').at(-1)).toMatch(/Killed/)
    },
  )

  test('a child process that a signal ends is told of last', async () => {
    const python = join(folder, 'python')
    writeFileSync(python, '#!/bin/sh\nkill -SEGV $$\n', { mode: 0o755 })
    const child = start(...small, '--quick', '--tokens', '4', '--peers', '--python', python, '--out', folder)
    child.stdout.resume()
    const stderr = await text(child.stderr)
    expect(stderr.trim().split('\n').at(-1)).toMatch(/python .*whole_model\.py .* was ended by SIGSEGV$/)
  })
})

/** The process that measures, by the folder that it was given. */
async function benchAmong(folder: string): Promise<number> {
  for (;;) {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
        if (words.includes(folder) && words.includes('src/cli/main.ts')) return Number(pid)
      } catch {} // it has just ended
    }
    await sleep(50)
  }
}
