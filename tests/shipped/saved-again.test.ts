import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tf from '@tensorflow/tfjs-core'
import { expect, onTestFinished, test } from 'vitest'
import { saveCheckpoint } from '../../src/checkpoint/save.ts'
import { loadModel } from '../../src/load-model.ts'
import { allTensors } from '../../src/model/weights.ts'
import { storedValues, trainable } from '../../src/train/parameters.ts'
import { modelDir, trainedModels, weightsHash } from './pins.ts'

test.each([...trainedModels(), 'random-mixtral'])(
  '%s has the same bytes when it is saved again',
  async (name) => {
    const dir = mkdtempSync(join(tmpdir(), 'tinymoe-saved-'))
    onTestFinished(() => rmSync(dir, { recursive: true }))
    const model = await loadModel(modelDir(name), { device: 'js' })
    const { weights, parameters } = trainable(model.weights)
    saveCheckpoint(dir, model.config, 'BF16', storedValues(model.config, parameters, weights))
    expect(weightsHash(dir)).toBe(weightsHash(modelDir(name)))
    tf.dispose(allTensors(weights))
  },
)
