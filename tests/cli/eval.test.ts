import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, test } from 'vitest'
import type { EvalReport } from '../../src/eval/types.ts'
import { ENDING_SIGNALS, exitCodeOf } from '../../src/signals.ts'
import { tinyModel } from '../eval/tiny-model.ts'
import { FIXTURES } from '../helpers/golden.ts'
import { MIXTRAL, mixtralWithText, outcomeOf, PATIENT, startCli, tinymoe } from './run-cli.ts'

const LLAMA = join(FIXTURES, 'llama')

let model: string
let folder: string

beforeAll(() => {
  model = tinyModel()
  folder = mkdtempSync(join(tmpdir(), 'tinymoe-eval-out-'))
})

afterAll(() => {
  rmSync(model, { recursive: true })
  rmSync(folder, { recursive: true })
})

describe.concurrent('tinymoe eval', PATIENT, () => {
  test('--json --experts --out: one report, on stdout and in the file', async ({ expect }) => {
    const file = join(folder, 'new', 'eval.json')
    const { code, stdout, stderr } = await tinymoe(
      ...['eval', model, '--samples', '1', '--domains', 'dates,code', '--seed', '4', '--split', 'validation'],
      ...['--experts', '--device', 'cpu', '--executor', 'eager', '--out', file, '--json'],
    )
    expect(code).toBe(0)
    expect(stderr.replace(/^eval \d+ % {2}\w+\n/gm, '')).toBe(`[written: ${file}]\n`)
    expect(readFileSync(file, 'utf8')).toBe(stdout)
    expect(readdirSync(join(folder, 'new'))).toEqual(['eval.json'])
    const report: EvalReport = JSON.parse(stdout)
    expect(report).toMatchObject({
      format: 'tinymoe-eval',
      version: 1,
      split: 'validation',
      samples: 1,
      seed: 4,
      domains: ['code', 'dates'],
      headline: null,
      conditions: { executor: 'eager', runtime: { device: 'cpu' } },
    })
    expect(report.experts!.layers).toHaveLength(1)
    expect(report.experts!.layers[0].disabled).toHaveLength(4)
  })

  test.for(ENDING_SIGNALS)('%s: its exit code, nothing on stdout, no file', async (signal, { expect }) => {
    const place = join(folder, signal)
    const child = startCli('eval', model, '--device', 'js', '--out', join(place, 'eval.json'))
    const waiting = setInterval(() => {
      if (!existsSync(place)) return // made just before the command listens
      clearInterval(waiting)
      child.kill(signal)
    }, 50)
    expect(await outcomeOf(child)).toEqual({
      code: exitCodeOf(signal),
      stdout: '',
      stderr: `interrupted by ${signal}: no report is written; another one ends at once\n`,
    })
    expect(readdirSync(place)).toEqual([])
  })

  test('a model without a tokenizer: what is missing, and what can be had', async ({ expect }) => {
    const { code, stdout, stderr } = await tinymoe('eval', MIXTRAL, '--device', 'js')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toBe(
      `error: ${MIXTRAL}: has no tokenizer.json, so the model cannot read the texts it is evaluated on (bench --model measures its cost and speed)\n`,
    )
  })

  test('a tokenizer with more ids than the model', async (context) => {
    const { expect } = context
    const dir = mixtralWithText(context)
    const { code, stderr } = await tinymoe('eval', dir, '--device', 'js')
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^error: .+: tokenizer\.json gives token \d+, but the model has 160 \(vocab_size\)\n$/,
    )
  })

  test('--experts of a dense model', async ({ expect }) => {
    const { code, stderr } = await tinymoe('eval', LLAMA, '--experts', '--device', 'js')
    expect([code, stderr]).toEqual([
      1,
      `error: ${LLAMA}: every layer is dense, so there are no experts to look at\n`,
    ])
  })

  test('--out that is a directory, or in what is none', async ({ expect }) => {
    const directory = join(folder, 'directory')
    mkdirSync(directory)
    cpSync(join(MIXTRAL, 'config.json'), join(folder, 'file'))
    const [first, second] = await Promise.all([
      tinymoe('eval', model, '--out', directory),
      tinymoe('eval', model, '--out', join(folder, 'file', 'eval.json')),
    ])
    expect([first.code, first.stderr]).toEqual([
      1,
      `error: --out ${directory}: cannot be written (is a directory)\n`,
    ])
    expect(second.code).toBe(1)
    expect(second.stderr).toMatch(/^error: --out .+eval\.json: cannot be written \(.+\)\n$/)
  })

  test.for<[message: string, args: string[]]>([
    [
      "error: option '--domains <list>' argument 'story,poems' is invalid. Expected names from story, arithmetic, code, german, data, dates, facts, separated by commas.",
      ['--domains', 'story,poems'],
    ],
  ])('%s', async ([message, args], { expect }) => {
    const { code, stdout, stderr } = await tinymoe('eval', model, ...args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toBe(
      `${message}\nusage: tinymoe eval [options] <model>\n(tinymoe eval --help lists arguments and options)\n`,
    )
  })
})
