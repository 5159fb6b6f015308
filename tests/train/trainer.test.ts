import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openSafetensors } from '../../src/checkpoint/disk.ts'
import { decodeBf16, encodeBf16 } from '../../src/checkpoint/dtype.ts'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { startRuntime } from '../../src/device/index.ts'
import { CheckpointError } from '../../src/errors.ts'
import { loadModel, readConfig } from '../../src/load-model.ts'
import { mixtureAt } from '../../src/model/config.ts'
import { allTensors } from '../../src/model/weights.ts'
import {
  checkpointDir,
  resumeTraining,
  saveModel,
  saveTraining,
  tokenizerOf,
} from '../../src/train/checkpoint.ts'
import { appendLog, isStep, readLog, startLog } from '../../src/train/log.ts'
import { planMinutes, runTraining } from '../../src/train/loop.ts'
import { storedValues, trainable, upload } from '../../src/train/parameters.ts'
import { warmupSteps } from '../../src/train/settings.ts'
import type { Trainer } from '../../src/train/trainer.ts'
import { maxDifference } from '../helpers/golden.ts'
import { TINY, tinyTokenizer, tinyTrainer } from './tiny.ts'

const TOKENS = [1, 40, 50, 60, 70, 80]

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'tinymoe-train-'))
  onTestFinished(() => rmSync(dir, { recursive: true }))
  return dir
}

function logitsOf(model: Trainer['model']): Float32Array {
  return tf.tidy(() => model.forward(TOKENS).logits.dataSync() as Float32Array)
}

describe.each(Object.keys(TINY))('%s', (family) => {
  test('a saved model loads to the same logits', async () => {
    const dir = directory()
    const trainer = tinyTrainer(family)
    for (let i = 0; i < 3; i++) await trainer.train()
    saveModel(dir, trainer, tinyTokenizer, 'F32')
    const loaded = await loadModel(dir, { device: 'cpu' })
    expect(loaded.config).toEqual(trainer.model.config)
    expect(maxDifference(logitsOf(loaded), logitsOf(trainer.model))).toBeLessThan(1e-6)
    const sum = await tokenizerOf(tinyTokenizer).encode('34+27=61', { addSpecialTokens: false })
    expect(await loaded.tokenizer?.encode('34+27=61')).toEqual([1, ...sum]) // `<s>`, as documents in training begin
    const { weights, parameters } = trainable(loaded.weights)
    parameters.forEach(({ name, values }, i) => {
      expect(name).toBe(trainer.parameters[i].name)
      expect(maxDifference(values, trainer.parameters[i].values), name).toBe(0)
    })
    tf.dispose(allTensors(weights))
    trainer.dispose()
  })

  test('an interrupted training goes on to the very same losses and weights', async () => {
    const whole = tinyTrainer(family, { steps: 6 })
    const losses: number[] = []
    for (let i = 0; i < 6; i++) losses.push((await whole.train()).loss)

    const out = directory()
    const controller = new AbortController()
    const first = tinyTrainer(family, { steps: 6 })
    const seen: number[] = []
    const finished = await runTraining(
      out,
      { trainer: first, tokenizer: tinyTokenizer, devices: [] },
      {
        signal: controller.signal,
        onStep: ({ step, loss }) => {
          seen.push(loss)
          if (step === 3) controller.abort()
        },
      },
    )
    expect(finished).toBe(false)
    first.dispose()
    const second = resumeTraining(out)
    expect(second.trainer.step).toBe(3)
    expect(await runTraining(out, second, { onStep: ({ loss }) => seen.push(loss) })).toBe(true)
    second.trainer.parameters.forEach(({ values, name }, i) => {
      expect(maxDifference(values, whole.parameters[i].values), name).toBe(0)
    })
    expect(seen).toEqual(losses)
    expect(
      readLog(out)
        .filter(isStep)
        .map(({ step }) => step),
    ).toEqual([1, 2, 3, 4, 5, 6])
    for (const trainer of [whole, second.trainer]) trainer.dispose()
  })

  test('no step and no validation leaves a tensor behind', async () => {
    const before = tf.memory().numTensors
    const trainer = tinyTrainer(family)
    await trainer.train()
    const during = tf.memory().numTensors
    await trainer.train()
    await trainer.validate()
    expect(tf.memory().numTensors).toBe(during)
    trainer.dispose()
    expect(tf.memory().numTensors).toBe(before)
  })
})

test('one seed gives one training, another gives another', async () => {
  const lossesOf = async (seed: number) => {
    const trainer = tinyTrainer('mixtral', { seed })
    const losses = [(await trainer.train()).loss, (await trainer.train()).loss]
    trainer.dispose()
    return losses
  }
  const [a, b, c] = [await lossesOf(1), await lossesOf(1), await lossesOf(2)]
  expect(b).toEqual(a)
  expect(c[0]).not.toBe(a[0])
})

test('balancing by bias moves the choosing bias by its rate a step', async () => {
  const trainer = tinyTrainer('glm4_moe', { biasRate: 0.25 })
  const { feedForward } = trainer.model.weights.blocks[1]
  if (feedForward.kind !== 'moe') throw new Error('layer 1 is a mixture')
  const { load } = await trainer.train()
  const expected = load[0].map((share) => 0.25 * Math.sign(0.25 - share)) // 4 experts
  expect([...feedForward.scoreBias!]).toEqual(expected)
  expect(expected.some((bias) => bias > 0)).toBe(true)
  trainer.dispose()
})

describe('a bfloat16 export of a model with a choosing bias', () => {
  /** So close together that bfloat16, with steps of 2^-7 above 1, makes them all equal. */
  const BIAS = [1, 1.001, 1.002, 1.003]
  const bf16 = (values: Float32Array) => {
    const bits = new Uint16Array(values.length)
    const rounded = new Float32Array(values.length)
    encodeBf16(new Uint32Array(values.buffer, values.byteOffset, values.length), bits)
    decodeBf16(bits, new Uint32Array(rounded.buffer), 0)
    return rounded
  }
  const routes = (model: Trainer['model']) => {
    const { logits, trace } = model.forward(TOKENS, { trace: true })
    logits.dispose()
    return trace!.layers.map(({ expertIndices }) => [...expertIndices])
  }

  test('has the bias in float32, and chooses as the model in memory with weights rounded', async () => {
    const dir = directory()
    const trainer = tinyTrainer('glm4_moe')
    const { feedForward } = trainer.model.weights.blocks[1]
    if (feedForward.kind !== 'moe') throw new Error('layer 1 is a mixture')
    feedForward.scoreBias!.set(BIAS)
    saveModel(dir, trainer, tinyTokenizer, 'BF16')

    const file = openSafetensors(join(dir, 'model.safetensors'))
    const dtypes = new Map(file.tensors.map(({ name, dtype }) => [name, dtype]))
    file.close()
    const inFloat32 = [...dtypes].filter(([, dtype]) => dtype !== 'BF16')
    expect(inFloat32).toEqual([['model.layers.1.mlp.gate.e_score_correction_bias', 'F32']])

    for (const parameter of trainer.parameters) {
      parameter.values.set(bf16(parameter.values))
      upload(parameter)
    }
    const loaded = await loadModel(dir, { device: 'cpu' })
    expect(routes(loaded)).toEqual(routes(trainer.model))
    expect(maxDifference(logitsOf(loaded), logitsOf(trainer.model))).toBeLessThan(1e-6)

    const exact = routes(trainer.model)
    feedForward.scoreBias!.set(bf16(new Float32Array(BIAS)))
    expect(routes(trainer.model)).not.toEqual(exact) // what a rounded bias would have done
    loaded.dispose()
    trainer.dispose()
  })
})

test('config.json has a decimal point where transformers wants a float, and the file reads back', async () => {
  const dir = directory()
  const trainer = tinyTrainer('glm4_moe')
  for (const [scalingFactor, written] of [
    [1, '"routed_scaling_factor": 1.0,'],
    [2.5, '"routed_scaling_factor": 2.5,'],
  ] as const) {
    const { config } = trainer.model
    const [dense, { attention }] = config.layers
    const mixture = mixtureAt(config, 1)
    const feedForward = { ...mixture, router: { ...mixture.router, scalingFactor } }
    const scaled = { ...config, layers: [dense, { attention, feedForward }] }
    saveCheckpoint(dir, scaled, 'F32', storedValues(config, trainer.parameters, trainer.model.weights))
    expect(readFileSync(join(dir, 'config.json'), 'utf8')).toContain(written)
    expect(readConfig(dir).config).toEqual(scaled)
  }
  trainer.dispose()
})

test('norms do not decay, matrices do', async () => {
  const trainer = tinyTrainer('mixtral', { peakLearningRate: 1e-3, clipNorm: 1e-30 })
  const norm = trainer.parameters.find(({ name }) => name === 'finalNorm')!
  const matrix = trainer.parameters.find(({ name }) => name === 'embedding')!
  const unused = 3 * 8 // token 3 begins no text: byte 0 of the tokenizer, so only decay moves its row
  const before = matrix.values[unused]
  for (const { second } of trainer.moments) second.fill(1e30) // no gradient moves anything
  const { learningRate } = await trainer.train()
  expect([...norm.values]).toEqual(new Array(8).fill(1))
  expect(matrix.values[unused]).toBeCloseTo(before * (1 - learningRate * 0.1), 8)
  trainer.dispose()
})

test('a loss that is no number ends the training with a sentence', async () => {
  const trainer = tinyTrainer('llama')
  trainer.parameters[0].values.fill(Number.NaN)
  upload(trainer.parameters[0])
  await expect(trainer.train()).rejects.toThrow(/step 1: the loss is NaN/)
  expect(trainer.step).toBe(0)
  trainer.dispose()
})

test('planning by minutes times steps that are not taken', async () => {
  const [planned, plain] = [1, 1].map((seed) => tinyTrainer('mixtral', { seed }))
  await planMinutes({ trainer: planned, tokenizer: tinyTokenizer, devices: [] }, 1)
  expect(planned.settings.steps).toBeGreaterThan(20)
  expect(planned.settings.warmup).toBe(warmupSteps(planned.settings.steps))
  expect(planned.step).toBe(0)
  expect((await planned.train()).loss).toBe((await plain.train()).loss)
  for (const trainer of [planned, plain]) trainer.dispose()
})

test('validation names every domain', async () => {
  const trainer = tinyTrainer('mixtral')
  const { validation, byDomain } = await trainer.validate()
  const losses = Object.values(byDomain)
  expect(Object.keys(byDomain)).toContain('arithmetic')
  expect(validation).toBeCloseTo(losses.reduce((a, b) => a + b, 0) / losses.length, 6)
  expect(validation).toBeGreaterThan(5) // nothing learned yet: about log 300
  expect(validation).toBeLessThan(6.5)
  trainer.dispose()
})

test('a checkpoint replaces the one before, which serves where a crash came between', async () => {
  const out = directory()
  const trainer = tinyTrainer('mixtral')
  await trainer.train()
  saveTraining(out, { trainer, tokenizer: tinyTokenizer, devices: [] })
  await trainer.train()
  saveTraining(out, { trainer, tokenizer: tinyTokenizer, devices: [] })
  trainer.dispose()
  renameSync(checkpointDir(out), `${checkpointDir(out)}.old`)
  const { trainer: resumed } = resumeTraining(out)
  expect(resumed.step).toBe(2)
  resumed.dispose()
})

test('a checkpoint of the time before there were sizes is of the full one', async () => {
  const out = directory()
  const trainer = tinyTrainer('mixtral')
  saveTraining(out, { trainer, tokenizer: tinyTokenizer, devices: [] })
  const file = join(checkpointDir(out), 'training.json')
  const { settings, step } = JSON.parse(readFileSync(file, 'utf8'))
  delete settings.size
  writeFileSync(file, JSON.stringify({ step, settings }))
  const { trainer: resumed } = resumeTraining(out)
  expect(resumed.settings).toEqual(trainer.settings)
  expect(resumed.settings.size).toBe('full')
  for (const each of [trainer, resumed]) each.dispose()
})

test('nothing to resume is one sentence', async () => {
  expect(() => resumeTraining(directory())).toThrow(CheckpointError)
})

test('going on drops what the log holds after the checkpoint, and a line cut off', async () => {
  const out = directory()
  startLog(out, 0)
  for (const step of [1, 2, 3]) appendLog(out, { step, validation: step, byDomain: {} })
  startLog(out, 2)
  expect(readLog(out).map(({ step }) => step)).toEqual([1, 2])
})
