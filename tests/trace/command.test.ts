import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { Command } from 'commander'
import { describe, expect, test, vi } from 'vitest'
import { register as registerTrace } from '../../src/cli/trace.ts'
import { TinymoeError, UsageError } from '../../src/errors.ts'
import { traceFromJson } from '../../src/trace/json.ts'
import {
  COMMAND,
  copyOfMixtral,
  MIXTRAL,
  mixtralWithText,
  outcomeOf,
  PATIENT,
  REPOSITORY,
  tinymoe,
} from '../cli/run-cli.ts'
import { FIXTURES } from '../helpers/golden.ts'

const TOKENS = ['--tokens', '1,5,34,139']
const ESCAPE = '\x1b'

/** The command with these variables set, into a pipe. */
async function traceWith(variables: Record<string, string>, ...args: string[]): Promise<string> {
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env
  const [node, ...rest] = COMMAND
  const child = spawn(node, [...rest, 'trace', ...args], { cwd: REPOSITORY, env: { ...env, ...variables } })
  return (await outcomeOf(child)).stdout
}

/** The command in this process: what it throws is what main prints. */
async function run(...args: string[]): Promise<void> {
  const program = new Command().option('--json').exitOverride()
  registerTrace(program)
  await program.parseAsync(['trace', ...args], { from: 'user' })
}

/** The same, and what it printed without colour. */
async function outputOf(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  vi.stubEnv('NO_COLOR', '1')
  const printed = { stdout: '', stderr: '' }
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((text: unknown, done?: unknown) => {
      printed[name] += text
      if (typeof done === 'function') done()
      return true
    }),
  )
  try {
    await run(...args)
  } finally {
    for (const spy of spies) spy.mockRestore()
    vi.unstubAllEnvs()
  }
  return printed
}

describe.concurrent('as a process', PATIENT, () => {
  test('prints the heat map and a table of the layers', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe('trace', MIXTRAL, ...TOKENS)
    expect([code, stderr]).toEqual([0, ''])
    const [map, legend, parameters, statistics] = stdout.split('\n\n')
    expect(`\n${map}\n`).toBe(`
                   layer 0           layer 1           layer 2
           expert   0 1 2 3 4 5 6 7   0 1 2 3 4 5 6 7   0 1 2 3 4 5 6 7
           0    1   · · · ·██▒▒ · ·   · · · · ·██░░ ·   ·░░ · · ·██ · ·
           1    5   · ·██ ·██ · · ·   · ·██ · · ·▒▒ ·   · · · ·██ ·██ ·
           2   34   · · · · ·░░ ·██   · ·██ · · ·██ ·   ·██ · ·██ · · ·
           3  139   · ·░░ · · · ·██  ██ · ·▓▓ · · · ·   · · · · ·░░ ·██
           tokens   0 0 2 0 2 2 0 2   1 0 2 1 0 1 3 0   0 2 0 0 2 2 1 1
load-balance loss  1.76              1.53              1.59
`)
    expect(legend).toMatch(/^░ ▒ ▓ █ up to/)
    expect(parameters).toMatch(
      /^parameters that ran\ntoken 0: [\d.]+K of [\d.]+K: layer 0 experts 4, 5; 1: 5, 6; 2: 1, 5\n/,
    )
    expect(statistics.split('\n').map((line) => line.trim().split(/ {2,}/).length)).toEqual([
      10, 10, 10, 10, 1,
    ])
  })

  test('FORCE_COLOR colours a pipe, and NO_COLOR wins over it', async ({ expect }) => {
    const [coloured, plain] = await Promise.all([
      traceWith({ FORCE_COLOR: '3' }, MIXTRAL, ...TOKENS),
      traceWith({ FORCE_COLOR: '3', NO_COLOR: '1' }, MIXTRAL, ...TOKENS),
    ])
    expect(coloured).toContain(`${ESCAPE}[38;2;166;107;240m██`)
    expect(plain).not.toContain(ESCAPE)
    expect(stripVTControlCharacters(coloured)).toBe(plain)
  })

  test('--step without a terminal is wrong usage', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe('trace', MIXTRAL, ...TOKENS, '--step')
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr.split('\n')[0]).toBe(
      'error: --step needs a terminal for keys and screen; --layer and --token print one decision without',
    )
  })
})

describe('prints', () => {
  test('token texts, in the width asked for', async (context) => {
    const { stdout } = await outputOf(mixtralWithText(context), '--prompt', 'x"y', '--width', '70')
    for (const text of ['"x"', '"\\""', '"y"']) expect(stdout).toContain(text)
    for (const line of stdout.split('\n\n')[0].split('\n')) expect(line.length).toBeLessThanOrEqual(70)
  })

  test('one decision in full', async () => {
    const { stdout } = await outputOf(MIXTRAL, ...TOKENS, '--layer', '1', '--token', '2')
    expect(stdout).toMatch(/^layer 1, token 2 of sequence 0: 34\n/)
    for (const step of ['logits', 'scores', 'choosing-bias', 'top-k', 'renormalise', 'scale', 'capacity']) {
      expect(stdout).toMatch(new RegExp(`^\\d  ${step} `, 'm'))
    }
    expect(stdout).toContain('The steps come to the recorded decision')
  })

  test('one decision as a value with --json, interventions included', async () => {
    const place = ['--layer', '1', '--token', '2', '--bias', '3=0.25']
    const json = JSON.parse((await outputOf('--json', MIXTRAL, ...TOKENS, ...place)).stdout)
    expect(json).toMatchObject({ layer: 1, sequence: 0, position: 2, token: 34, text: null, agrees: true })
    expect(json.expertIndices).toContain(3)
    const { inputs, outputs } = json.steps.find(({ name }: { name: string }) => name === 'choosing-bias')
    outputs.compared.forEach((c: number, e: number) => {
      expect(c - inputs.scores[e]).toBeCloseTo(e === 3 ? 0.25 : 0, 6)
    })
  })

  test('new tokens too with --max-tokens', async () => {
    const { stdout } = await outputOf('--json', MIXTRAL, ...TOKENS, '--max-tokens', '3')
    expect(traceFromJson(stdout).trace.rows.map(({ position }) => position)).toEqual([0, 1, 2, 3, 4, 5])
  })
})

describe('writes', () => {
  test('a trace with --out that --replay routes another run by', async (context) => {
    const out = join(copyOfMixtral(context), 'trace.json')
    await outputOf(MIXTRAL, ...TOKENS, '--top-k', '1', '--disable', '4', '--out', out)
    const { trace } = traceFromJson(readFileSync(out, 'utf8'))
    expect(trace.layers.map(({ topK, tokensPerExpert }) => [topK, tokensPerExpert[4]])).toEqual([
      [1, 0],
      [1, 0],
      [1, 0],
    ])
    const { stdout } = await outputOf('--json', MIXTRAL, ...TOKENS, '--replay', out)
    const again = traceFromJson(stdout).trace
    expect(again.layers.map((l) => l.expertIndices)).toEqual(trace.layers.map((l) => l.expertIndices))
    await expect(run(MIXTRAL, '--tokens', '1,5,34,139,9', '--replay', out)).rejects.toThrow(
      new UsageError('--replay: the trace has no token 4 of sequence 0'),
    )
  })

  test('--csv alone to stdout, --csv, --html and --svg to files', async (context) => {
    const dir = copyOfMixtral(context)
    const [csv, html, svg] = ['t.csv', 't.html', 't.svg'].map((name) => join(dir, name))
    const { stdout } = await outputOf(MIXTRAL, ...TOKENS, '--csv')
    expect(stdout.split('\r\n')).toHaveLength(1 + 3 * 4 * 2 + 1)
    const { stderr } = await outputOf(MIXTRAL, ...TOKENS, '--csv', csv, '--html', html, '--svg', svg)
    expect(stderr).toBe(`[written: ${csv}]\n[written: ${html}]\n[written: ${svg}]\n`)
    expect(readFileSync(csv, 'utf8')).toBe(stdout)
    const page = readFileSync(html, 'utf8')
    expect(page.startsWith('<!doctype html>') && page.includes('Routing of 4 tokens by mixtral')).toBe(true)
    expect(page).toContain(readFileSync(svg, 'utf8').trim())
  })
})

describe('is refused in a sentence', () => {
  test.each<[string, string[], number, RegExp]>([
    [
      'a dense model',
      [join(FIXTURES, 'llama'), ...TOKENS],
      1,
      /llama: every layer is dense, so there is no router to trace$/,
    ],
    ['neither prompt nor tokens', [MIXTRAL], 2, /^trace takes either --prompt or --tokens$/],
    [
      'a prompt without a tokenizer',
      [MIXTRAL, '--prompt', 'x'],
      1,
      /mixtral: has no tokenizer\.json to read --prompt with, give --tokens$/,
    ],
    [
      '--layer alone',
      [MIXTRAL, ...TOKENS, '--layer', '1'],
      2,
      /^--layer and --token name one decision together/,
    ],
    [
      'a layer that is not there',
      [MIXTRAL, ...TOKENS, '--layer', '3', '--token', '0'],
      2,
      /^--layer 3: expected a layer with a router \(0, 1, 2\)$/,
    ],
    [
      'a token that is not there',
      [MIXTRAL, ...TOKENS, '--layer', '0', '--token', '4'],
      2,
      /^--token 4: expected one of the 4 tokens from 0$/,
    ],
    [
      '--step with --json',
      ['--json', MIXTRAL, ...TOKENS, '--step'],
      2,
      /^--step shows a screen, --json prints a value/,
    ],
    [
      '--csv and --json both on stdout',
      ['--json', MIXTRAL, ...TOKENS, '--csv'],
      2,
      /^--csv without a file has stdout/,
    ],
    [
      'an expert that is not there',
      [MIXTRAL, ...TOKENS, '--disable', '9'],
      2,
      /^--disable: 9 in layer 0, expected a whole number from 0 to 7$/,
    ],
    [
      'a file that cannot be written',
      [MIXTRAL, ...TOKENS, '--out', '/dev/null/x.json'],
      1,
      /^--out \/dev\/null\/x\.json: cannot be written \(/,
    ],
  ])('%s', async (_, args, exitCode, message) => {
    const error = await run(...args).catch((thrown) => thrown)
    expect(error).toBeInstanceOf(TinymoeError)
    expect(error.message).toMatch(message)
    expect(error.exitCode).toBe(exitCode)
  })
})
