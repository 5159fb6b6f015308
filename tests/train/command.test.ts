import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { generateSample } from '../../src/corpus/index.ts'
import { readConfig } from '../../src/load-model.ts'
import { exitCodeOf } from '../../src/signals.ts'
import { isStep, readLog } from '../../src/train/log.ts'
import { outcomeOf, startCli, tinymoe } from '../cli/run-cli.ts'
import { exampleEvaluation } from './evaluation.ts'

let dir: string
let corpus: string
/** Small steps of the real preset; own texts, so that the tokenizer takes no time. */
let flags: string[]

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-train-'))
  corpus = join(dir, 'texts.txt')
  const texts = Array.from({ length: 60 }, (_, i) => generateSample('story', 'train', i, 1).text)
  writeFileSync(corpus, texts.join('\n\n'))
  flags = [
    'train',
    '--device',
    'cpu',
    '--preset',
    'moe',
    '--corpus',
    corpus,
    '--batch',
    '2',
    '--length',
    '32',
    ...['--executor', 'eager'], // of a model this large a graph takes longer than these steps
  ]
})

afterAll(() => rmSync(dir, { recursive: true }))

test('SIGTERM leaves a checkpoint, --resume ends with a model that generates', async () => {
  const out = join(dir, 'run')
  const child = startCli(...flags, '--steps', '12', '--out', out)
  child.stderr!.once('data', () => child.kill('SIGTERM')) // the line of the first step
  const interrupted = await outcomeOf(child)
  expect(interrupted.code).toBe(143)
  expect(interrupted.stderr).toContain(
    'interrupted by SIGTERM: a checkpoint is written after this step; another one ends at once\n',
  )
  expect(interrupted.stdout).toMatch(/stopped after step \d+ of 12; go on with --out .* --resume/)
  expect(existsSync(join(out, 'model'))).toBe(false)

  const again = await tinymoe(...flags, '--steps', '12', '--out', out)
  expect(again.code).toBe(1)
  expect(again.stderr).toMatch(/checkpoint exists: --resume goes on with it/)
  const small = await tinymoe('train', '--resume', '--size', 'small', '--out', out)
  expect(small.stderr).toMatch(/--size is small, but the training to resume was started with full/)
  const other = await tinymoe('train', '--resume', '--seed', '9', '--out', out)
  expect(other.stderr).toMatch(/--seed is 9, but the training to resume was started with 1/)

  const { code, stdout, stderr } = await tinymoe(
    'train',
    '--device',
    'cpu',
    '--out',
    out,
    '--resume',
    '--json',
  )
  expect(stderr).toMatch(/step 12\/12 {2}loss \d\.\d+ {2}\d+ tokens\/s {2}\d+ s left {2}experts \d+-\d+ %/)
  expect(code).toBe(0)
  const model = join(out, 'model')
  expect(JSON.parse(stdout)).toMatchObject({ finished: true, step: 12, model })
  expect(
    readLog(out)
      .filter(isStep)
      .map(({ step }) => step),
  ).toEqual(Array.from({ length: 12 }, (_, i) => i + 1))
  expect(readdirSync(model).sort()).toEqual([
    'README.md',
    'config.json',
    'curve.svg',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
    'tokenizer_config.json',
  ])
  expect(statSync(join(model, 'model.safetensors')).size).toBeLessThan(8e6)
  expect(readConfig(model).config.family).toBe('mixtral')
  const text = await tinymoe(
    'generate',
    model,
    '--device',
    'cpu',
    '--prompt',
    'Once',
    '--max-tokens',
    '4',
    '--json',
  )
  expect(JSON.parse(text.stdout).tokens.length).toBeGreaterThan(0)
})

test.each(['SIGINT', 'SIGHUP'] as const)('%s leaves a checkpoint too', async (signal) => {
  const out = join(dir, signal)
  const child = startCli(...flags, '--steps', '1000', '--out', out)
  child.stderr!.once('data', () => child.kill(signal))
  const { code, stdout } = await outcomeOf(child)
  expect(code).toBe(exitCodeOf(signal))
  expect(stdout).toMatch(/stopped after step \d+ of 1000/)
  expect(existsSync(join(out, 'checkpoint', 'model.safetensors'))).toBe(true)
})

/** Needs the finished run of the first test. */
test('models/export.ts makes the same model again, with an evaluation in its card', async () => {
  const run = join(dir, 'run')
  const model = join(dir, 'exported')
  const evaluation = join(dir, 'eval.json')
  writeFileSync(evaluation, JSON.stringify(exampleEvaluation()))
  const { code, stderr } = await exported(run, model, evaluation)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  const weights = [join(run, 'model'), model].map((folder) => readFileSync(join(folder, 'model.safetensors')))
  expect(weights[1].equals(weights[0])).toBe(true)
  const [trained, card] = [join(run, 'model'), model].map((folder) =>
    readFileSync(join(folder, 'README.md'), 'utf8'),
  )
  const before = card.slice(0, card.indexOf('## Evaluation'))
  expect(trained.startsWith(before)).toBe(true)
  expect(before).toMatch(/tokens\) on cpu \(.*\d threads?\), \d+ seconds/)
  expect(card).toContain('| mean of domains | 0.500 |')

  const other = exampleEvaluation()
  other.model.family = 'llama'
  writeFileSync(evaluation, JSON.stringify(other))
  expect((await exported(run, model, evaluation)).stderr).toMatch(
    /^error: .*eval.json: is of a llama with 3609728 parameters, but the training made a mixtral with 3609728\n$/,
  )
  writeFileSync(evaluation, '{}')
  expect((await exported(run, model, evaluation)).stderr).toMatch(/is no evaluation of version 1/)
  expect(await exported(run)).toMatchObject({ code: 2, stderr: expect.stringContaining('usage: ') })
})

function exported(...args: string[]) {
  const child = spawn(process.execPath, ['--import', 'tsx', 'models/export.ts', ...args], {
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '3' },
  })
  return outcomeOf(child)
}

test.each([
  [['train'], /train needs --preset/],
  [['train', '--preset', 'moe', '--steps', '5', '--minutes', '1'], /one of --steps and --minutes/],
  [['train', '--preset', 'huge'], /Allowed choices are moe, dense-active, dense-total, deepseek/],
  [['train', '--preset', 'moe', '--steps', '0'], /Expected a whole number from 1/],
])('%j is wrong usage', async (args, message) => {
  const { code, stderr } = await tinymoe(...args)
  expect(stderr).toMatch(message)
  expect(stderr).toMatch(/usage: tinymoe train/)
  expect(code).toBe(2)
})

test('a device without gradients, and a corpus that is not there, are one sentence', async () => {
  const out = ['--out', join(dir, 'none')]
  const js = await tinymoe('train', '--preset', 'moe', '--corpus', corpus, '--device', 'js', ...out)
  expect(js.stderr).toBe(
    'error: training needs TensorFlow (device cuda or cpu), for gradients come with it: run `tinymoe setup`\n',
  )
  const missing = await tinymoe(
    'train',
    '--preset',
    'moe',
    '--corpus',
    join(dir, 'nowhere'),
    '--device',
    'js',
    ...out,
  )
  expect(missing.stderr).toMatch(/^error: --corpus: .*nowhere does not exist\n$/)
})
