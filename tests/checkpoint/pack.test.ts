import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, test } from 'vitest'
import { eachStored, packWeights } from '../../src/checkpoint/pack.ts'
import { startRuntime } from '../../src/device/index.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import type { StoredTensor } from '../../src/model/tensor-spec.ts'
import { leaves } from '../../src/model/tree.ts'
import { tensorSpecs, weightTable } from '../../src/model/weight-table.ts'
import { allTensors, type ModelWeights } from '../../src/model/weights.ts'
import { product } from '../../src/sums.ts'
import { storedValues, trainable } from '../../src/train/parameters.ts'
import { randomNumbers } from '../helpers/random.ts'
import { TINY } from '../train/tiny.ts'

const CONFIGS: Record<string, ModelConfig> = {
  ...TINY,
  'llama with biases': {
    ...TINY.llama,
    layers: TINY.llama.layers.map(({ attention }) => ({
      attention: { ...attention, bias: true },
      feedForward: { kind: 'dense', intermediateSize: 12, bias: true },
    })),
  },
}

/** Numbers of every stored tensor. */
function numbersOf(config: ModelConfig): Map<string, Float32Array> {
  const next = randomNumbers(3)
  const numbers = new Map<string, Float32Array>()
  for (const [, { stored }] of tensorSpecs(weightTable(config))) {
    for (const { name, shape } of stored)
      numbers.set(name, Float32Array.from({ length: product(shape) }, next))
  }
  return numbers
}

function packed(config: ModelConfig): ModelWeights {
  const numbers = numbersOf(config)
  const read = ({ name, shape }: StoredTensor, target: Float32Array) => {
    expect(target.length).toBe(product(shape))
    target.set(numbers.get(name)!)
  }
  return packWeights(weightTable(config), eachStored(read))
}

describe.each(['cpu', 'js'] as const)('on %s', (device) => {
  describe.each(Object.entries(CONFIGS))('%s', (_, config) => {
    test('what is packed is unpacked to the same numbers', async () => {
      await startRuntime({ device })
      const { weights, parameters } = trainable(packed(config))
      const values = storedValues(config, parameters, weights)
      const numbers = numbersOf(config)
      for (const [, { stored }] of tensorSpecs(weightTable(config))) {
        for (const { name } of stored) expect(values(name), name).toEqual(numbers.get(name))
      }
      tf.dispose(allTensors(weights))
    })

    test('the table and the weights have the same entries, of the same sizes', async () => {
      await startRuntime({ device })
      const weights = packed(config)
      const sizes = [...leaves<tf.Tensor | Float32Array>(weights)]
        .filter(([path]) => !path.includes('.stacked.'))
        .map(([path, leaf]) => [path, leaf instanceof tf.Tensor ? leaf.size : leaf.length])
      expect(sizes).toEqual([...tensorSpecs(weightTable(config))].map(([path, { size }]) => [path, size]))
      tf.dispose(allTensors(weights))
    })
  })

  test('a source that fails leaves nothing behind', async () => {
    await startRuntime({ device })
    const before = tf.memory().numTensors
    const numbers = numbersOf(TINY.mixtral)
    const read = ({ name }: StoredTensor, target: Float32Array) => {
      if (name === 'blocks.1.moe.experts.3.down') throw new Error('the disk is gone')
      target.set(numbers.get(name)!)
    }
    expect(() => packWeights(weightTable(TINY.mixtral), eachStored(read))).toThrow('the disk is gone')
    expect(tf.memory().numTensors).toBe(before)
  })
})
