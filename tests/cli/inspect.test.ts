import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { parseHTML } from 'linkedom'
import { describe, expect, test } from 'vitest'
import { register as registerInspect } from '../../src/cli/inspect.ts'
import { register as registerTrace } from '../../src/cli/trace.ts'
import { countParameters } from '../../src/cost/index.ts'
import { readConfig } from '../../src/load-model.ts'
import { mixtureAt } from '../../src/model/config.ts'
import { said } from './in-process.ts'
import { copyOfMixtral, MIXTRAL, mixtralWithText, PATIENT, tinymoe } from './run-cli.ts'

function inspect(...args: string[]) {
  return said(registerInspect, 'inspect', ...args)
}

async function shown(...args: string[]): Promise<string> {
  const { stdout, error } = await inspect(...args)
  expect(error).toBeNull()
  return stdout
}

describe('tinymoe inspect', () => {
  test('a published model, by a part of its name', async () => {
    const stdout = await shown('mixtral-8x7b')
    expect(stdout).toMatch(
      /^mistralai\/Mixtral-8x7B-v0.1\n\ntotal {3}█{48} 46.70B\nactive {2}█{13}▎ 12.88B, 27.6%\n/,
    )
    expect(stdout).toContain('total        46.7B   46.70B       +0.0%  everything   within 1 %\n')
    expect(stdout).toContain('              8  32 of E=8 K=2              7.20   90.0%\n')
  })

  test('--json has the fixed form; a directory counts as its tensors do, in float32', async () => {
    const stdout = await shown(MIXTRAL, '--json', '--context', '10')
    const { parameters, flopsPerToken, bytesPerToken, published, measured } = JSON.parse(stdout)
    const { parts, ...counted } = countParameters(readConfig(MIXTRAL).config)
    expect(parameters).toMatchObject({ parts, ...counted })
    expect(flopsPerToken.context).toBe(10)
    const { total, ...flops } = flopsPerToken.decode
    expect(total).toBe((Object.values(flops) as number[]).reduce((a, b) => a + b, 0))
    expect(bytesPerToken.dtype).toBe('float32')
    expect(bytesPerToken.total).toBe(
      bytesPerToken.weights + bytesPerToken.cacheRead + bytesPerToken.cacheWritten,
    )
    expect([published, measured]).toEqual([null, null])
  })

  test('a config.json that the engine cannot run', async (context) => {
    const file = join(copyOfMixtral(context), 'config.json')
    const { config } = JSON.parse(await shown('--list', '--json')).find(
      ({ name }: { name: string }) => name === 'openai/gpt-oss-20b',
    )
    writeFileSync(file, JSON.stringify(config))
    const { parameters, bytes } = JSON.parse(await shown(file, '--json', '--dtype', 'fp8'))
    expect(parameters.total).toBe(20_914_757_184)
    expect(bytes.allWeights).toBe(parameters.total)
  })

  test('--compare, with the first by the second, and the picture', async ({ onTestFinished }) => {
    const dir = mkdtempSync(join(tmpdir(), 'tinymoe-inspect-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    const svg = join(dir, 'bars.svg')
    const stdout = await shown('--compare', 'deepseek-moe-16b', 'deepseek-llm-7b', '--svg', svg)
    expect(stdout).toMatch(/\nactive +2\.829B +6\.910B +x0\.409\n/)
    const picture = readFileSync(svg, 'utf8')
    expect(picture).toContain('prefers-color-scheme: dark')
    expect(picture).toContain('2.829B active of 16.38B, 17.3%')
    const [, active] = parseHTML(picture).document.querySelectorAll('[aria-label="bar"]')
    const widths = [...active.querySelectorAll('rect')].map((bar) => Number(bar.getAttribute('width')))
    expect(widths[0] / widths[1]).toBeCloseTo(2.829 / 6.91, 2)
  })

  test('--compare --json, a model before the flag', async () => {
    const stdout = await shown('mixtral-8x7b', '--compare', MIXTRAL, '--json')
    expect(JSON.parse(stdout).models.map(({ name }: { name: string }) => name)).toEqual([
      'mistralai/Mixtral-8x7B-v0.1',
      MIXTRAL,
    ])
  })

  test('--measure counts the experts that a text touches', async (context) => {
    const dir = mixtralWithText(context)
    const text = 'x"y"x"y"x"' // bytes that no pair of the tokenizer joins
    const run = ['--device', 'js', '--json']
    const stdout = await shown(dir, '--measure', text, '--batches', '1,4', ...run)
    const before = tf.memory().numTensors
    expect(await shown(dir, '--measure', text, '--batches', '1,4', ...run)).toBe(stdout)
    expect(tf.memory().numTensors).toBe(before)
    const { measured } = JSON.parse(stdout)
    const { router } = mixtureAt(readConfig(dir).config, 0)
    expect(measured.answers.map(({ tokens }: { tokens: number }) => tokens)).toEqual([1, 4, measured.tokens])
    const [one, four] = measured.answers
    expect(one.expertsTouched[0]).toBe(router.topK)
    expect(one.expertsExpected[0]).toBeCloseTo(router.topK, 12)
    expect(four.expertsTouched[0]).toBeGreaterThanOrEqual(router.topK)
    expect(four.expertsTouched[0]).toBeLessThanOrEqual(Math.min(router.numExperts, 4 * router.topK))
    // the routing that the trace of the same run shows
    const traced = await said(registerTrace, 'trace', dir, '--prompt', text, ...run)
    const trace = JSON.parse(traced.stdout)
    const chosen = trace.layers[0].expertIndices.flat(Number.POSITIVE_INFINITY) as number[]
    expect(measured.answers[2].expertsTouched[0]).toBe(new Set(chosen).size)
  })

  test('--list names every model and every difference', async () => {
    const stdout = await shown('--list')
    expect(stdout).toContain('MiniMaxAI/MiniMax-Text-01')
    const explained = stdout.split('\n').filter((line) => line.endsWith('explained'))
    expect(stdout.match(/, (total|active): .*\.\n/g)).toHaveLength(explained.length)
    expect(stdout).not.toContain('unexplained')
  })

  test.for<[message: string, args: string[]]>([
    ['inspect needs a model: a directory, a config.json, or a name (--list)', []],
    [
      '--compare mixtral-8x7b: expected two models, such as --compare mixtral-8x7b llama-2-7b',
      ['--compare', 'mixtral-8x7b'],
    ],
    ['--list takes no model', ['mixtral-8x7b', '--list']],
    ['--measure is about one model: leave out --compare', ['--compare', 'a', 'b', '--measure', 'x']],
    [
      "option '--batches <list>' argument '8,' is invalid. Expected a whole number from 1 to 1000000000.",
      ['mixtral-8x7b', '--batches', '8,'],
    ],
    [
      "option '--context <n>' argument '0' is invalid. Expected a whole number from 1 to 10000000.",
      ['mixtral-8x7b', '--context', '0'],
    ],
    [
      "option '--dtype <name>' argument 'half' is invalid. Allowed choices are float32, bfloat16, float16, fp8, int4.",
      ['mixtral-8x7b', '--dtype', 'half'],
    ],
  ])('wrong usage: %s', async ([message, args], { expect }) => {
    expect(await inspect(...args)).toEqual({ stdout: '', error: { message, exitCode: 2 } })
  })

  test('an unknown name, with near ones', async () => {
    const { stdout, error } = await inspect('mixtrl-8x7b', '--json')
    expect([stdout, error?.exitCode]).toEqual(['', 1])
    expect(error?.message).toMatch(
      /^mixtrl-8x7b: no such directory or file, and no bundled or published model of that name; near: mistralai\/Mixtral-8x7B-v0.1, .*$/,
    )
  })

  test('a name that several have', async () => {
    expect((await inspect('glm')).error).toEqual({
      message: 'glm: several models have that in their name: zai-org/GLM-4.5, zai-org/GLM-4.5-Air',
      exitCode: 1,
    })
  })

  test.for([
    ['{"model_type": ', ' is not JSON: '],
    ['[]', ": is no JSON object, expected the model's config"],
    ['{"model_type": "bert"}', ': "model_type" is "bert", expected one of '],
    ['{"model_type": "jetmoe"}', ': "vocab_size" is missing, '],
  ])('a config.json that is none: %s', async ([content, message], context) => {
    const dir = copyOfMixtral(context)
    const file = join(dir, 'config.json')
    writeFileSync(file, content)
    const { stdout, error } = await inspect(dir)
    expect([stdout, error?.exitCode]).toEqual(['', 1])
    expect(error?.message.startsWith(file + message)).toBe(true)
    expect(error?.message).not.toContain('\n')
  })

  test('a directory without a config.json', async (context) => {
    const dir = copyOfMixtral(context)
    rmSync(join(dir, 'config.json'))
    expect((await inspect(dir)).error?.message).toMatch(
      /config\.json: cannot be read \(ENOENT.*\), expected the model's config$/,
    )
  })

  test('--measure of a name, and of a directory without a tokenizer', async () => {
    expect((await inspect('mixtral-8x7b', '--measure', 'a')).error?.message).toBe(
      'mixtral-8x7b: --measure needs a directory with weights and a tokenizer to run a text',
    )
    expect((await inspect(MIXTRAL, '--measure', 'a', '--device', 'js')).error?.message).toBe(
      `${MIXTRAL}: has no tokenizer.json to read --measure with`,
    )
  })

  test('a picture that cannot be written', async () => {
    const { stdout, error } = await inspect('mixtral-8x7b', '--svg', '/dev/null/bars.svg')
    expect([stdout, error?.exitCode]).toEqual(['', 1])
    expect(error?.message).toMatch(/^--svg \/dev\/null\/bars\.svg: cannot be written \(.*\)$/)
  })

  test('as a process: errors are one sentence, exit 1, nothing on stdout', PATIENT, async () => {
    const { code, stdout, stderr } = await tinymoe('inspect', 'nothing-like-it')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(/^error: nothing-like-it: no such directory or file, .+\n$/)
  })
})
