import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { openCheckpoint } from '../../src/checkpoint/disk.ts'
import { loadWeights } from '../../src/checkpoint/load.ts'
import { dequantised } from '../../src/checkpoint/quantised.ts'
import { quantizeModel } from '../../src/checkpoint/quantize.ts'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { startRuntime } from '../../src/device/index.ts'
import { loadModel, readConfig } from '../../src/load-model.ts'
import { ExpertCache } from '../../src/model/expert-cache.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { expertsOnDisk } from '../../src/model/weights.ts'
import { maxDifference } from '../helpers/golden.ts'
import { numbersOf } from '../helpers/held.ts'
import { logitsOf } from '../helpers/logits.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'
import { widenedWeights } from '../helpers/widened.ts'
import { temporaryDir, writeRaw } from './files.ts'

/* Directories by others, in which matrices that a kernel reads at once are quantised in different ways. */

const folder = temporaryDir()
const V = 40
const sizes = { D: 64, H: 96, E: 4, K: 2, V }

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
  const source = join(folder, 'source')
  const model = randomModel(sizes)
  saveCheckpoint(source, model.config, 'F32', numbersOf(model))
  model.dispose()
  for (const bits of [4, 8] as const)
    await quantizeModel(source, join(folder, `${bits}`), { bits, group: 32, keep: ['embedding'] })
})

/** The directory in 4 bits, with the tensors whose names `ofOther` knows in 8. */
function mixed(name: string, ofOther: RegExp): string {
  const dir = join(folder, name)
  mkdirSync(dir)
  const [four, eight] = ['4', '8'].map((bits) => openCheckpoint(join(folder, bits)))
  const header: Record<string, object> = {}
  const data: Uint8Array[] = []
  let end = 0
  for (const name of four.names()) {
    const tensor = (ofOther.test(name) ? eight : four).get(name)
    const { dtype, shape, bytes } = tensor
    data.push(tensor.raw(0, bytes))
    header[name] = { dtype, shape, data_offsets: [end, end + bytes] }
    end += bytes
  }
  writeRaw(join(dir, 'model.safetensors'), header, Buffer.concat(data))
  copyFileSync(join(folder, '4', 'config.json'), join(dir, 'config.json'))
  for (const checkpoint of [four, eight]) checkpoint.close()
  return dir
}

test('down in other groups than gate and up: each product reads its own, and no stack is widened', async () => {
  const before = tf.memory().numTensors
  const dir = mixed('down', /experts\.\d+\.w2\./)
  const [full, held] = [
    await loadModel(dir, { device: 'cpu', dtype: 'float32' }),
    await loadModel(dir, { device: 'cpu' }),
  ]
  for (const dispatch of DISPATCHES)
    for (const rows of [1, 3, 40]) {
      const tokens = randomTokens(rows, V, rows)
      const [expected, actual] = [full, held].map((model) => logitsOf(model.forward(tokens, { dispatch })))
      expect(maxDifference(actual, expected)).toBeLessThan(2e-5 * Math.max(...expected.map(Math.abs)))
    }
  for (const rows of [1, 16, 40]) expect(widenedWeights(held, rows)).toBe(0)
  for (const model of [full, held]) model.dispose()
  expect(tf.memory().numTensors).toBe(before)
})

test('experts of different forms are float32 all of them: on disk one by one each takes as much as the others', () => {
  const dir = mixed('experts', /experts\.2\./)
  const { config, family, quantisation } = readConfig(dir)
  const checkpoint = dequantised(openCheckpoint(dir), quantisation)
  const before = tf.memory().numTensors
  const bytes = 4 * 3 * sizes.D * sizes.H
  const cache = new ExpertCache(bytes)
  const [whole, part] = [{}, { onDisk: cache, largestStack: 1000 }].map(
    (options) => new MoeModel(config, loadWeights(checkpoint, config, family, { dtype: 'auto', ...options })),
  )
  for (const dispatch of DISPATCHES) {
    const tokens = randomTokens(9, V, 3)
    const expected = logitsOf(whole.forward(tokens, { dispatch }))
    expect(maxDifference(logitsOf(part.forward(tokens, { dispatch })), expected)).toBeLessThan(1e-5)
  }
  for (const { reads } of expertsOnDisk(part.weights)) {
    expect(reads.misses).toBeGreaterThan(sizes.E)
    expect(reads.bytes).toBe(reads.misses * bytes)
  }
  for (const model of [whole, part]) model.dispose()
  checkpoint.close()
  expect(tf.memory().numTensors).toBe(before)
})
