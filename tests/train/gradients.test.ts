import * as tf from '@tensorflow/tfjs-core'
import { afterEach, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { trainingLogits } from '../../src/train/forward.ts'
import { gradientsOf } from '../../src/train/gradients.ts'
import { initWeights } from '../../src/train/initialize.ts'
import { type Parameter, trainable, upload } from '../../src/train/parameters.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomNumbers, randomTokens } from '../helpers/random.ts'
import { TINY } from './tiny.ts'

/** Router losses weigh as much as the rest here, so that their gradients show. */
const WEIGHTS = { balance: 1, z: 0.1 }
const V = 20
const ROWS = [randomTokens(7, V, 1), randomTokens(7, V, 2)]

/**
 * Central differences of fourth order. Off by H^4/30 times the fifth derivative, which the weights below keep small, and
 * by the noise of a float32 loss, some 3e-7, times 1.5/H.
 */
const H = 5e-3
const TOLERANCE = 3e-4

/** Native first: it brings the gradients that the plain backend uses too. */
async function start(device: 'cpu' | 'js'): Promise<void> {
  await startRuntime({ device: 'cpu' })
  await startRuntime({ device })
}

/** Weights large enough that every part matters; embeddings larger, for a norm of something small bends strongly. */
function randomTrainable(config: ModelConfig): { model: MoeModel; parameters: Parameter[] } {
  const { weights, parameters } = trainable(initWeights(config, 1))
  const next = randomNumbers(5)
  for (const parameter of parameters) {
    const { name } = parameter
    const [center, width] = name.includes('orm') ? [1, 0.3] : name === 'embedding' ? [0, 2] : [0, 0.5]
    parameter.values = parameter.values.map(() => center + width * next())
    upload(parameter)
  }
  for (const { feedForward } of weights.blocks) {
    if (feedForward.kind === 'moe') feedForward.scoreBias?.set([0.1, -0.05, 0, 0.05])
  }
  return { model: new MoeModel(config, weights), parameters }
}

let disposable: MoeModel | null = null
afterEach(() => {
  disposable?.dispose()
  disposable = null
})

describe.each(Object.keys(TINY))('%s', (family) => {
  const config = { ...TINY[family], vocabSize: V }

  test('every gradient equals a central difference of the loss (js)', async () => {
    await start('js')
    const { model, parameters } = randomTrainable(config)
    disposable = model
    const exact = gradientsOf(model, parameters, ROWS, WEIGHTS)
    const pick = randomNumbers(9)
    let largest = 0
    for (const [i, parameter] of parameters.entries()) {
      const gradient = exact.gradients[i]
      const steepest = gradient.reduce(
        (best, g, at) => (Math.abs(g) > Math.abs(gradient[best]) ? at : best),
        0,
      )
      const any = Math.floor(((pick() + 1) / 2) * gradient.length)
      for (const at of [steepest, any]) {
        const lossAt = (shift: number) => {
          const before = parameter.values[at]
          parameter.values[at] = before + shift
          upload(parameter)
          const { loss, load } = gradientsOf(model, parameters, ROWS, WEIGHTS)
          parameter.values[at] = before
          upload(parameter)
          expect(load, 'the choice of experts must not jump').toEqual(exact.load)
          return loss
        }
        const numeric = (8 * (lossAt(H) - lossAt(-H)) - (lossAt(2 * H) - lossAt(-2 * H))) / (12 * H)
        expect(Math.abs(numeric - gradient[at]), `${parameter.name}[${at}]: ${numeric}`).toBeLessThan(
          TOLERANCE,
        )
        largest = Math.max(largest, Math.abs(gradient[at]))
      }
      if (!parameter.name.includes('experts')) expect(gradient.some((g) => g !== 0)).toBe(true)
    }
    expect(largest).toBeGreaterThan(100 * TOLERANCE) // else the comparison says little
  })

  test('native gradients equal those of plain JavaScript', async () => {
    const results = []
    for (const device of ['cpu', 'js'] as const) {
      await start(device)
      const { model, parameters } = randomTrainable(config)
      results.push(gradientsOf(model, parameters, ROWS, WEIGHTS))
      model.dispose()
    }
    const [native, plain] = results
    expect(native.load).toEqual(plain.load)
    expect(Math.abs(native.loss - plain.loss)).toBeLessThan(1e-5)
    native.gradients.forEach((gradient, i) => {
      expect(maxDifference(gradient, plain.gradients[i])).toBeLessThan(2e-5)
    })
  })
})

test.each(Object.keys(TINY))(
  'the forward in training gives the logits of the ordinary one: %s',
  async (family) => {
    await start('cpu')
    const { model } = randomTrainable(TINY[family])
    disposable = model
    const trained = tf.tidy(() =>
      trainingLogits(model, tf.tensor1d(ROWS.flat(), 'int32'), ROWS.length, { onRouting() {} }).dataSync(),
    )
    const ordinary = tf.tidy(() => model.forward(ROWS).logits.dataSync())
    expect(maxDifference(trained, ordinary)).toBeLessThan(1e-5)
  },
)

test('an expert that no token chose has a zero gradient', async () => {
  await start('cpu')
  const { model, parameters } = randomTrainable({ ...TINY.mixtral, vocabSize: V })
  disposable = model
  const { load, gradients } = gradientsOf(model, parameters, [[3, 4]], WEIGHTS) // one token, two of four experts
  load.forEach((counts, layer) => {
    counts.forEach((count, e) => {
      const at = parameters.findIndex(
        (p) => p.name === `blocks.${layer}.feedForward.experts.${e}.down.weight`,
      )
      expect(gradients[at].some((g) => g !== 0)).toBe(count > 0)
    })
  })
})
