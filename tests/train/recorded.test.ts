import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { mixtureLayers } from '../../src/model/config.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { zeroMoments } from '../../src/train/adamw.ts'
import { checkpointDir, resumeTraining } from '../../src/train/checkpoint.ts'
import { EagerSteps } from '../../src/train/eager-steps.ts'
import { gradientsOf } from '../../src/train/gradients.ts'
import { initWeights } from '../../src/train/initialize.ts'
import { runTraining } from '../../src/train/loop.ts'
import { trainable } from '../../src/train/parameters.ts'
import { RecordedSteps } from '../../src/train/recorded-steps.ts'
import { trainSettings } from '../../src/train/settings.ts'
import type { Trained } from '../../src/train/steps.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomTokens } from '../helpers/random.ts'
import { TINY, tinyTokenizer, tinyTrainer } from './tiny.ts'

const BATCH = { rows: 4, length: 24 }
const V = 300

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

function trainedOf(family: string): Trained {
  const config = TINY[family]
  const { weights, parameters } = trainable(initWeights(config, 1))
  const settings = trainSettings({ preset: 'moe', steps: 20, ...BATCH, biasRate: 0.01, clipNorm: 0.5 })
  const moments = parameters.map(({ values }) => zeroMoments(values.length))
  return { model: new MoeModel(config, weights), parameters, moments, settings }
}

function rowsOf(step: number): number[][] {
  return Array.from({ length: BATCH.rows }, (_, row) => randomTokens(BATCH.length + 1, V, 100 * step + row))
}

/** A recorded step, and the eager one with the experts that it chose. */
function stepOfBoth(
  steps: RecordedSteps,
  eager: EagerSteps,
  { model }: Trained,
  t: number,
  rate: number,
  rows = rowsOf(t),
) {
  const mixtures = mixtureLayers(model.config)
  const names = mixtures.map((layer) => `${layer}/expertIndices`)
  const chosen = steps.fetch(rows, ['numbers', ...names]).slice(1)
  const is = steps.step(rows, t, rate)
  const than = eager.step(rows, t, rate, (layer) => chosen[mixtures.indexOf(layer)] as Int32Array)
  return { is, than }
}

describe.each(Object.keys(TINY))('%s', (family) => {
  test('losses and gradients of the graph are those of the eager step', () => {
    const trained = trainedOf(family)
    const steps = new RecordedSteps(trained)
    const { model, parameters, settings } = trained
    const eager = gradientsOf(model, parameters, rowsOf(0), settings.lossWeights)
    const names = parameters.map((_, i) => `gradients/${i}`)
    const [numbers, ...gradients] = steps.fetch(rowsOf(0), ['numbers', ...names])
    expect(maxDifference(numbers.slice(0, 2), [eager.loss, eager.crossEntropy])).toBeLessThan(3e-6)
    for (const [i, gradient] of gradients.entries()) {
      const largest = Math.max(...eager.gradients[i].map(Math.abs))
      expect(maxDifference(gradient, eager.gradients[i]), parameters[i].name).toBeLessThan(
        1e-5 * largest + 1e-9,
      )
    }
    steps.dispose()
    model.dispose()
  })

  test('many steps, with the routing replayed, come to the same losses, weights, moments and biases', () => {
    const [recorded, replayed] = [trainedOf(family), trainedOf(family)]
    const [steps, eager] = [new RecordedSteps(recorded), new EagerSteps(replayed)]
    for (let t = 1; t <= 9; t++) {
      const { is, than } = stepOfBoth(steps, eager, recorded, t, 0.01)
      expect(is.load).toEqual(than.load)
      for (const name of ['loss', 'crossEntropy', 'balance', 'z', 'gradientNorm'] as const) {
        if (than[name] === null) expect(is[name]).toBeNull()
        else expect(Math.abs(is[name]! / than[name] - 1), `${name} of step ${t}`).toBeLessThan(2e-5)
      }
    }
    steps.toHost()
    for (const [i, { name, values }] of recorded.parameters.entries())
      expect(maxDifference(values, replayed.parameters[i].values), name).toBeLessThan(1e-3) // a step is 0.01 each
    for (const [i, { first, second }] of recorded.moments.entries()) {
      expect(maxDifference(first, replayed.moments[i].first)).toBeLessThan(1e-4)
      expect(maxDifference(second, replayed.moments[i].second)).toBeLessThan(1e-5)
    }
    const biases = [recorded, replayed].map(({ model }) =>
      model.weights.blocks.flatMap(({ feedForward }) =>
        feedForward.kind === 'moe' ? [...(feedForward.scoreBias ?? [])] : [],
      ),
    )
    expect(maxDifference(Float32Array.from(biases[0]), Float32Array.from(biases[1]))).toBeLessThan(1e-6)
    expect(biases[0].some((bias) => Math.abs(bias) > 0.005)).toBe(biases[0].length > 0) // have moved
    steps.dispose()
    for (const { model } of [recorded, replayed]) model.dispose()
  })
})

test('losses of 200 steps are those of eager ones with the same routing', () => {
  const [recorded, replayed] = [trainedOf('mixtral'), trainedOf('mixtral')]
  const [steps, eager] = [new RecordedSteps(recorded), new EagerSteps(replayed)]
  const losses: number[] = []
  for (let t = 1; t <= 200; t++) {
    const { is, than } = stepOfBoth(steps, eager, recorded, t, 0.003, rowsOf(t % 2))
    expect(Math.abs(is.crossEntropy / than.crossEntropy - 1), `step ${t}`).toBeLessThan(1e-4)
    losses.push(is.crossEntropy)
  }
  expect(losses[199]).toBeLessThan(0.8 * losses[0]) // there was something to learn
  steps.dispose()
  for (const { model } of [recorded, replayed]) model.dispose()
})

test('an interrupted training goes on to the very same losses and weights, and leaves no tensor', async () => {
  const before = tf.memory().numTensors
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-recorded-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  const settings = { steps: 6, executor: 'recorded' } as const
  const whole = tinyTrainer('deepseek_v3', settings)
  const losses: number[] = []
  for (let i = 0; i < 6; i++) losses.push((await whole.train()).loss)
  const controller = new AbortController()
  const seen: number[] = []
  const trainer = tinyTrainer('deepseek_v3', settings)
  await runTraining(
    dir,
    { trainer, tokenizer: tinyTokenizer, devices: [] },
    {
      signal: controller.signal,
      onStep({ step, loss }) {
        seen.push(loss)
        if (step === 3) controller.abort()
      },
    },
  )
  trainer.dispose()
  const second = resumeTraining(dir)
  expect(second.trainer.settings.executor).toBe('recorded')
  expect(checkpointDir(dir)).toContain(dir)
  expect(await runTraining(dir, second, { onStep: ({ loss }) => seen.push(loss) })).toBe(true)
  expect(seen).toEqual(losses)
  for (const [i, { values, name }] of second.trainer.parameters.entries())
    expect(maxDifference(values, whole.parameters[i].values), name).toBe(0)
  const { validation } = await whole.validate()
  const eager = tinyTrainer('deepseek_v3', { ...settings, executor: 'eager' })
  for (let i = 0; i < 6; i++) await eager.train()
  expect(Math.abs((await eager.validate()).validation - validation)).toBeLessThan(1e-4)
  for (const one of [whole, second.trainer, eager]) one.dispose()
  expect(tf.memory().numTensors).toBe(before)
})

test('a loss that is no number ends the training with a sentence, and nothing has moved', async () => {
  const trainer = tinyTrainer('mixtral', { executor: 'recorded' })
  const [embedding] = trainer.parameters
  embedding.variable.assign(tf.fill(embedding.shape, Number.NaN))
  const before = trainer.parameters[1].values.slice()
  await expect(trainer.train()).rejects.toThrow(/step 1: the loss is NaN/)
  expect(trainer.step).toBe(0)
  expect(trainer.parameters[1].values).toEqual(before)
  trainer.dispose()
})

test('nor has anything in the variables of its session, weight decay among it', () => {
  const [token, other] = [7, 8]
  const [failed, twin] = Array.from({ length: 2 }, () => {
    const trained = trainedOf('mixtral')
    const { values, variable, shape } = trained.parameters[0]
    values.fill(Number.NaN, token * shape[1], (token + 1) * shape[1])
    variable.assign(tf.tensor(values, shape))
    const steps = new RecordedSteps(trained)
    const rows = rowsOf(0).map((row) => row.map((id) => (id === token ? other : id)))
    steps.step(rows, 1, 0.1)
    return { trained, steps }
  })
  expect(() => failed.steps.step([[token, ...rowsOf(1)[0].slice(1)], ...rowsOf(1).slice(1)], 2, 0.1)).toThrow(
    /step 2: the loss is NaN/,
  )
  for (const { steps } of [failed, twin]) steps.toHost()
  for (const [i, { values, name }] of failed.trained.parameters.entries())
    expect(values, name).toEqual(twin.trained.parameters[i].values)
  for (const { trained, steps } of [failed, twin]) {
    steps.dispose()
    trained.model.dispose()
  }
})
