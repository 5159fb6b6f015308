import * as tf from '@tensorflow/tfjs-core'
import { expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { DeviceError } from '../../src/errors.ts'
import { tinyTrainer } from './tiny.ts'

test('a device whose ops have no gradients is refused before anything is trained', async () => {
  await startRuntime({ device: 'js' }) // TensorFlow is not loaded in this process
  expect(tf.getGradient('BatchMatMul')).toBeUndefined()
  expect(() => tinyTrainer('mixtral')).toThrow(DeviceError)
})
