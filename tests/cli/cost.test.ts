import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { register as registerCost } from '../../src/cli/cost.ts'
import { said } from './in-process.ts'
import { PATIENT, tinymoe } from './run-cli.ts'

async function json(...args: string[]) {
  const { stdout, error } = await said(registerCost, 'cost', '--json', ...args)
  expect(error).toBeNull()
  return JSON.parse(stdout)
}

describe('tinymoe cost', () => {
  test('defaults are the report of DeepSeek-V3', async () => {
    const { model, run, cost, leftOut, rebound } = await json()
    expect(model).toBe('deepseek-ai/DeepSeek-V3')
    expect(run).toMatchObject({ active: 37e9, total: 671e9, tokens: 14.8e12, hours: 2_788_000, price: 2 })
    expect(run.pretrainingHours).toBeCloseTo(2_664_000, 6)
    expect(cost.dollars).toBe(5_576_000)
    expect(cost.utilisation.bfloat16).toBeCloseTo(0.346, 3)
    expect(leftOut[0].dollars).toBe(294_672)
    expect(rebound.costFactor).toBe(cost.dense.timesFlops)
    expect(rebound.rows.map(({ elasticity }: { elasticity: number }) => elasticity)).toEqual([0.5, 1, 1.5])
  })

  test('every input is a flag', async () => {
    const { model, run, cost, leftOut } = await json(
      ...['--active', '10B', '--total', '40B', '--tokens', '1T', '--gpu-hours', '100K'],
      ...['--pretraining-hours', '80K', '--price', '1.5', '--peak-tflops', '312', '--fp8-peak-tflops', '700'],
    )
    expect(model).toBeNull()
    expect(run.peak).toEqual({ bfloat16: 312e12, fp8: 700e12 })
    expect(run.attentionPerToken).toBeNull()
    expect(cost.dollars).toBe(150_000)
    expect(cost.pretrainingDollars).toBe(120_000)
    expect(cost.utilisation.bfloat16).toBeCloseTo(6e22 / (80_000 * 3600 * 312e12), 9)
    expect(cost.dense.timesFlops).toBe(4)
    expect(leftOut).toEqual([])
  })

  test('another published model brings its own attention', async () => {
    const args = ['--model', 'mixtral-8x7b', '--tokens', '1T', '--gpu-hours', '1M', '--sequence', '8192']
    const { model, run } = await json(...args)
    expect(model).toBe('mistralai/Mixtral-8x7B-v0.1')
    expect(run.active).toBe(12.9e9)
    expect(run.attentionPerToken).toBe(3 * 32 * 4 * 4096 * 4096.5)
  })

  test('rebound: factor, elasticities and a seen growth of use', async () => {
    const { rebound } = await json('--cost-factor', '10', '--elasticity', '2,0,1', '--use-factor', '100')
    expect(rebound.rows).toEqual([
      { elasticity: 0, use: 1, spend: 0.1 },
      { elasticity: 1, use: 10, spend: 1 },
      { elasticity: 2, use: 100, spend: 10 },
    ])
    expect(rebound.impliedElasticity).toBeCloseTo(2, 12)
  })

  test('the text says less, the same, more; the picture is written', async ({ onTestFinished }) => {
    const dir = mkdtempSync(join(tmpdir(), 'tinymoe-cost-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    const svg = join(dir, 'rebound.svg')
    const { stdout, error } = await said(registerCost, 'cost', '--cost-factor', '4', '--svg', svg)
    expect(error).toBeNull()
    expect(stdout).toMatch(
      / 0\.5 +x2 +x0\.5 +less is spent\n +1 +x4 +x1 +the same\n +1\.5 +x8 +x2 +more is spent\n/,
    )
    const picture = readFileSync(svg, 'utf8')
    expect(picture).toContain('prefers-color-scheme: dark')
    expect(picture.match(/<circle/g)).toHaveLength(3)
  })

  test('inputs that no GPU can do are remarked on', async () => {
    const { stdout } = await said(registerCost, 'cost', '--gpu-hours', '100K')
    expect(stdout).toContain('That is more than a GPU can do in bfloat16')
  })

  test.for<[message: string, args: string[]]>([
    ['--active and --total describe a model together: give both', ['--active', '37B']],
    ['--active 50000000000: expected at most --total 40000000000', ['--active', '50B', '--total', '40B']],
    [
      "--model mixtral-8x7b: give --tokens and --gpu-hours too, the defaults are DeepSeek-V3's",
      ['--model', 'mixtral-8x7b'],
    ],
    ['--pretraining-hours 3000000: expected at most --gpu-hours 2788000', ['--pretraining-hours', '3M']],
    [
      '--use-factor needs a --cost-factor above 1: at the same price it says nothing about elasticity',
      ['--cost-factor', '1', '--use-factor', '2'],
    ],
    [
      "option '--tokens <n>' argument '14.8Q' is invalid. Expected a positive amount up to 1000000T, such as 37B, 14.8T, 2788000 or 1.5e13.",
      ['--tokens', '14.8Q'],
    ],
    [
      "option '--price <dollars>' argument '0' is invalid. Expected dollars above 0 and up to 1000000.",
      ['--price', '0'],
    ],
    [
      "option '--cost-factor <f>' argument '0.5' is invalid. Expected a factor from 1 to 1000000.",
      ['--cost-factor', '0.5'],
    ],
    [
      "option '--elasticity <list>' argument '1,x' is invalid. Expected elasticities from 0 to 10 such as 0.5,1,1.5.",
      ['--elasticity', '1,x'],
    ],
  ])('wrong usage: %s', async ([message, args]) => {
    expect(await said(registerCost, 'cost', ...args)).toEqual({ stdout: '', error: { message, exitCode: 2 } })
  })

  test('an unknown model, with near ones', async () => {
    const { error } = await said(registerCost, 'cost', '--model', 'deepsek-v3')
    expect(error?.exitCode).toBe(1)
    expect(error?.message).toMatch(
      /^--model deepsek-v3: no published model of that name; near: deepseek-ai\/.*$/,
    )
  })

  test('as a process: the page on stdout, wrong usage exits 2', PATIENT, async () => {
    const [page, wrong] = await Promise.all([tinymoe('cost'), tinymoe('cost', '--active', '37B')])
    expect([page.code, page.stderr]).toEqual([0, ''])
    expect(page.stdout).toMatch(/^training of deepseek-ai\/DeepSeek-V3\n/)
    expect(wrong).toEqual({
      code: 2,
      stdout: '',
      stderr:
        'error: --active and --total describe a model together: give both\n' +
        'usage: tinymoe cost [options]\n(tinymoe cost --help lists arguments and options)\n',
    })
  })
})
