import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { readModel, resumeTraining, saveModel } from '../../src/train/checkpoint.ts'
import { runTraining, startTraining } from '../../src/train/loop.ts'
import { trainSettings } from '../../src/train/settings.ts'
import type { Trainer } from '../../src/train/trainer.ts'
import { upcycleModel } from '../../src/train/upcycle.ts'
import { tinymoe } from '../cli/run-cli.ts'
import { maxDifference } from '../helpers/golden.ts'
import { tinyTokenizer, tinyTrainer } from './tiny.ts'

const STEPS = 20
const BATCH = { rows: 4, length: 24, peakLearningRate: 0.02 }

let dir: string
let upcycled: string
let dense: Trainer

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
  dir = mkdtempSync(join(tmpdir(), 'tinymoe-upcycle-'))
  upcycled = join(dir, 'upcycled')
  dense = tinyTrainer('llama', BATCH)
  for (let i = 0; i < 3; i++) await dense.train()
  saveModel(join(dir, 'dense'), dense, tinyTokenizer, 'F32')
  const options = { experts: 4, topK: 2, seed: 1, dtype: 'F32', layout: 'published' } as const
  await upcycleModel(join(dir, 'dense'), upcycled, options)
})
afterAll(() => {
  dense.dispose()
  rmSync(dir, { recursive: true })
})

const settings = () => trainSettings({ from: upcycled, steps: STEPS, ...BATCH })

/** How far the matrices of a layer's first two experts are apart. */
function apart({ parameters }: Trainer): number {
  const [a, b] = [0, 1].map(
    (e) => parameters.find(({ name }) => name === `blocks.0.feedForward.experts.${e}.gateUp.weight`)!.values,
  )
  return maxDifference(a, b)
}

test('an upcycled model begins where the dense one is, learns, and its copies part', async () => {
  const { trainer } = startTraining(settings())
  expect(apart(trainer)).toBe(0)
  const [of, than] = [await trainer.validate(), await dense.validate()]
  expect(Math.abs(of.validation - than.validation)).toBeLessThan(1e-5)
  for (let i = 0; i < STEPS; i++) await trainer.train()
  expect((await trainer.validate()).validation).toBeLessThan(of.validation - 0.2)
  expect(apart(trainer)).toBeGreaterThan(0.01)
  trainer.dispose()
})

test('it goes on after an interruption as if there had been none, and needs the model no more', async () => {
  const losses = async (out: string, until: number) => {
    const seen: number[] = []
    const controller = new AbortController()
    const training = until === STEPS ? resumeTraining(out) : startTraining(settings())
    await runTraining(out, training, {
      signal: controller.signal,
      onStep({ step, loss }) {
        seen.push(loss)
        if (step === until) controller.abort()
      },
    })
    training.trainer.dispose()
    return seen
  }
  const whole = startTraining(settings())
  const expected: number[] = []
  for (let i = 0; i < STEPS; i++) expected.push((await whole.trainer.train()).loss)
  whole.trainer.dispose()
  const out = join(dir, 'run')
  expect([...(await losses(out, 8)), ...(await losses(out, STEPS))]).toEqual(expected)
})

test('the command takes the model, and records its steps unless told otherwise', async () => {
  const out = join(dir, 'command')
  const size = ['--steps', '2', '--batch', '2', '--length', '24']
  const { code, stdout } = await tinymoe(
    'train',
    '--from',
    upcycled,
    ...size,
    '--out',
    out,
    '--device',
    'cpu',
    '--json',
  )
  expect(code).toBe(0)
  const { finished, settings } = JSON.parse(stdout)
  expect(finished).toBe(true)
  expect(settings).toMatchObject({ preset: null, from: upcycled, executor: 'recorded', biasRate: null })
})

test('a model with other tokens is refused, and so are flags that do not go together', async () => {
  const file = join(dir, 'dense', 'tokenizer.json')
  const others = { ...tinyTokenizer, added_tokens: [{ id: 0, content: '<unk>' }] }
  writeFileSync(file, JSON.stringify(others))
  expect(() => readModel(join(dir, 'dense'))).toThrow(
    `${file}: its first tokens are <unk>, none, none, expected <pad>, <s>, </s>, as trained models have them`,
  )
  const { code, stderr } = await tinymoe('train', '--from', upcycled, '--preset', 'moe')
  expect(code).toBe(2)
  expect(stderr).toContain('train takes either --from, or --preset and --size')
})
