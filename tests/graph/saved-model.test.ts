import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { exportSavedModel } from '../../src/graph/saved-model.ts'
import { loadModel } from '../../src/load-model.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { allTensors, type MoeWeights } from '../../src/model/weights.ts'
import { fixtureModel } from '../helpers/golden.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

/** What tfjs-node makes of a SavedModel directory. */
interface Served {
  predict(inputs: Record<string, tf.Tensor>): Record<string, tf.Tensor>
  dispose(): void
}

const root = mkdtempSync(join(tmpdir(), 'tinymoe-export-'))
afterAll(() => rmSync(root, { recursive: true }))

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

let dir: string
beforeEach(() => {
  dir = join(mkdtempSync(join(root, 'case-')), 'out')
})

/** Loads a signature as any user of tfjs-node would. */
function load(path: string, signature = 'serving_default'): Promise<Served> {
  const { node } = createRequire(import.meta.url)('@tensorflow/tfjs-node')
  return node.loadSavedModel(path, ['serve'], signature)
}

function values(tensor: tf.Tensor): Float32Array {
  const data = tensor.dataSync() as Float32Array
  tensor.dispose()
  return data
}

function logitsOf(served: Served, tokens: number[][]): Float32Array {
  const input_ids = tf.tensor2d(tokens, undefined, 'int32')
  const { logits } = served.predict({ input_ids })
  input_ids.dispose()
  return values(logits)
}

/** The same tokens one column at a time, the cache handed in and out. */
function decoded(served: Served, { config }: MoeModel, tokens: number[][]): Float32Array {
  const { numKeyValueHeads, headDim } = config.layers[0].attention
  const empty = () => tf.zeros([config.layers.length, tokens.length, numKeyValueHeads, 0, headDim])
  let cache = { past_keys: empty(), past_values: empty() }
  const steps = tokens[0].map((_, t) => {
    const column = tokens.map((sequence) => [sequence[t]])
    const inputs = { input_ids: tf.tensor2d(column, undefined, 'int32'), ...cache }
    const { logits, keys, values: newValues } = served.predict(inputs)
    tf.dispose(inputs)
    cache = { past_keys: keys, past_values: newValues } as typeof cache
    return logits as tf.Tensor3D
  })
  tf.dispose(cache)
  const joined = tf.concat(steps, 1)
  tf.dispose(steps)
  return values(joined)
}

/** Float32 sums in another order: the engine's own tokens one by one differ from its prompt by 1.3e-5 on `mixtral`. */
const ROUNDING = 3e-5

/** Within `tolerance`, absolutely and in proportion to the value. */
function expectClose(actual: Float32Array, expected: Float32Array, tolerance = ROUNDING): void {
  expect(actual.length).toBe(expected.length)
  const worst = expected.reduce((max, x, i) => Math.max(max, Math.abs(actual[i] - x) / (1 + Math.abs(x))), 0)
  expect(worst).toBeLessThan(tolerance)
}

const MODELS: [string, () => MoeModel | Promise<MoeModel>, tolerance?: number][] = [
  [
    'the bundled random-mixtral',
    () => loadModel('models/random-mixtral', { device: 'cpu', executor: 'eager' }),
    1e-5,
  ],
  ['mixtral', () => fixtureModel('mixtral')],
  ['glm4_moe', () => fixtureModel('glm4_moe'), 1e-5],
  ['llama', () => fixtureModel('llama'), 1e-5],
  ['a sliding window', () => randomModel({ slidingWindow: 5, E: 5 })],
  ['a window that hides nothing', () => randomModel({ slidingWindow: 2 ** 40, E: 1, K: 1 })],
  ['tied embeddings, every head with keys of its own', () => randomModel({ tied: true, kvHeads: 4, K: 3 })],
]

describe.each(MODELS)('%s', (_, make, tolerance) => {
  test.each(['sparse', 'dense'] as const)(
    'gives the logits of the engine at any batch and length (%s)',
    async (dispatch) => {
      const model = await make()
      const before = tf.memory().numTensors
      const exported = await exportSavedModel(model, dir, { dispatch })
      expect(tf.memory().numTensors).toBe(before)
      const served = await load(dir)
      const decoder = await load(dir, 'decode')
      const batches = [[[3]], [randomTokens(13, 40, 1)], [randomTokens(6, 40, 2), randomTokens(6, 40, 3)]]
      for (const tokens of batches) {
        const expected = values(model.forward(tokens).logits)
        expectClose(logitsOf(served, tokens), expected, tolerance)
        expectClose(decoded(decoder, model, tokens), expected, tolerance)
      }
      for (const loaded of [served, decoder]) loaded.dispose()
      expect(tf.memory().numTensors).toBe(before)
      expect(exported?.signatures.serving_default.outputs.logits.shape).toEqual([
        null,
        null,
        model.config.vocabSize,
      ])
      model.dispose()
    },
  )
})

test('prompts as long as several windows, and a prompt after a cache', async () => {
  const model = randomModel({ slidingWindow: 9 })
  await exportSavedModel(model, dir)
  const served = await load(dir, 'decode')
  const tokens = randomTokens(200, 40, 7)
  const expected = values(model.forward(tokens).logits)
  const piece = (ids: number[], cache: Record<string, tf.Tensor> = {}) => {
    const inputs = { input_ids: tf.tensor2d([ids], undefined, 'int32'), ...cache }
    return served.predict(inputs)
  }
  const empty = tf.zeros([2, 1, 2, 0, 4])
  const first = piece(tokens.slice(0, 150), { past_keys: empty, past_values: empty })
  const second = piece(tokens.slice(150), { past_keys: first.keys, past_values: first.values })
  expectClose(values(tf.concat([first.logits, second.logits] as tf.Tensor3D[], 1)), expected)
  served.dispose()
  model.dispose()
})

test('two exports in one process keep their own weights', async () => {
  const models = [1, 2].map((seed) => randomModel({ seed }))
  const dirs = models.map((_, i) => `${dir}-${i}`)
  for (const [i, model] of models.entries()) await exportSavedModel(model, dirs[i])
  const served = await Promise.all(dirs.map((path) => load(path)))
  models.forEach((model, i) => {
    expectClose(logitsOf(served[i], [[1, 2, 3]]), values(model.forward([1, 2, 3]).logits))
    served[i].dispose()
    model.dispose()
  })
})

test('the files are a SavedModel, its checkpoint has every weight by name, and nothing else is left', async () => {
  const model = randomModel()
  mkdirSync(dir) // empty: may be there
  const exported = await exportSavedModel(model, dir)
  expect(readdirSync(dir).sort()).toEqual(['saved_model.pb', 'variables'])
  expect(readdirSync(join(dir, 'variables')).sort()).toEqual([
    'variables.data-00000-of-00001',
    'variables.index',
  ])
  expect(readdirSync(join(dir, '..'))).toEqual(['out'])
  expect(readFileSync(join(dir, 'saved_model.pb')).includes('_Mkl')).toBe(false) // kernels are this processor's business
  const { embedding, blocks, finalNorm } = model.weights
  const moe = blocks[1].feedForward as MoeWeights
  const named: Record<string, tf.Tensor> = {
    embedding,
    finalNorm,
    'blocks/0/attention/qkv/weight': blocks[0].attention.qkv.weight,
    'blocks/1/feedForward/router/weight': moe.router.weight,
    'blocks/1/feedForward/experts/3/down/weight': moe.experts[3].down.weight,
  }
  const backend = tf.backend() as unknown as {
    loadSavedModelMetaGraph(path: string, tags: string): number
    runSavedModel(id: number, inputs: [], infos: [], outputs: string[]): tf.Tensor[]
    deleteSavedModel(id: number): void
  }
  const id = backend.loadSavedModelMetaGraph(dir, 'serve')
  const read = backend.runSavedModel(
    id,
    [],
    [],
    Object.keys(named).map((name) => `${name}/Read:0`),
  )
  Object.values(named).forEach((weight, i) => {
    expect(read[i].shape).toEqual(weight.shape)
    expect([...values(read[i])]).toEqual([...weight.dataSync()])
  })
  backend.deleteSavedModel(id)
  const stacks = 2 * blocks.length // the same numbers as the single experts
  expect(exported?.variables).toBe(allTensors(model.weights).length - stacks)
  model.dispose()
})

test('what is there is not replaced, and a place that cannot be written is named', async () => {
  const model = randomModel()
  mkdirSync(dir)
  writeFileSync(join(dir, 'notes.txt'), 'mine')
  await expect(exportSavedModel(model, dir)).rejects.toThrow(`${dir}: is not empty`)
  await expect(exportSavedModel(model, join(dir, 'notes.txt'))).rejects.toThrow('is a file')
  await expect(exportSavedModel(model, join(dir, 'notes.txt', 'below'))).rejects.toThrow('cannot be written')
  expect(readdirSync(dir)).toEqual(['notes.txt'])
  model.dispose()
})

test('an interrupted export has written nothing and freed all', async () => {
  const model = randomModel()
  const before = tf.memory().numTensors
  const stop = new AbortController()
  const shares: number[] = []
  const exported = await exportSavedModel(model, dir, {
    signal: stop.signal,
    onProgress: (share) => {
      shares.push(share)
      if (shares.length === 2) stop.abort()
    },
  })
  expect(exported).toBeNull()
  expect(shares).toEqual([1 / 9, 2 / 9])
  expect(existsSync(dir)).toBe(false)
  expect(tf.memory().numTensors).toBe(before)
  model.dispose()
})

test('without TensorFlow the error says what is needed', async () => {
  await startRuntime({ device: 'js' })
  const model = randomModel()
  await expect(exportSavedModel(model, dir)).rejects.toThrow('made by TensorFlow')
  model.dispose()
  await startRuntime({ device: 'cpu' })
})
