import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { balanceLoss, crossEntropy, updateScoreBias, zLoss } from '../../src/train/losses.ts'

const value = (f: () => tf.Scalar) => tf.tidy(() => f().dataSync()[0])

describe.each(['cpu', 'js'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await startRuntime({ device: 'cpu' }) // brings the gradients
    await startRuntime({ device })
  })

  test('cross-entropy is the mean of -log p(target)', () => {
    const logits = [
      [0, 0, 0, 0],
      [Math.log(3), 0, Math.log(5), 0],
    ]
    // p = 1/4 and 5/10
    const loss = value(() => crossEntropy(tf.tensor2d(logits), tf.tensor1d([1, 2], 'int32')))
    expect(loss).toBeCloseTo((Math.log(4) + Math.log(2)) / 2, 5)
  })

  test('its gradient is (p - one-hot) / N', () => {
    const gradient = tf.tidy(() => {
      const f = (z: tf.Tensor) => crossEntropy(z as tf.Tensor2D, tf.tensor1d([2, 0], 'int32'))
      return tf
        .grad(f)(tf.zeros([2, 4]))
        .dataSync()
    })
    expect([...gradient]).toEqual([0.125, 0.125, -0.375, 0.125, -0.375, 0.125, 0.125, 0.125])
  })

  test('a target without any probability costs much, not infinitely', () => {
    const loss = value(() => crossEntropy(tf.tensor2d([[0, 1000]]), tf.tensor1d([0], 'int32')))
    expect(loss).toBeGreaterThan(80)
    expect(loss).toBeLessThan(104)
  })

  test.each(['softmax', 'sigmoid'] as const)('the balance loss is 1 when all is even (%s)', (scoring) => {
    const even = value(() => balanceLoss(tf.zeros([6, 3]), tf.tensor1d([4, 4, 4]), { scoring }))
    expect(even).toBeCloseTo(1, 6)
  })

  test('and otherwise E sum f P', () => {
    // P = mean of (2/3, 1/3) and (1/2, 1/2) = (7/12, 5/12); f = (3/4, 1/4); 2 (21/48 + 5/48)
    const logits = [
      [Math.log(2), 0],
      [0, 0],
    ]
    const loss = value(() => balanceLoss(tf.tensor2d(logits), tf.tensor1d([3, 1]), { scoring: 'softmax' }))
    expect(loss).toBeCloseTo(26 / 24, 5)
    // sigmoid: (2/3, 1/2) / (7/6) = (4/7, 3/7), and (1/2, 1/2): P = (15/28, 13/28); 2 (45/112 + 13/112)
    const sigmoid = value(() => balanceLoss(tf.tensor2d(logits), tf.tensor1d([3, 1]), { scoring: 'sigmoid' }))
    expect(sigmoid).toBeCloseTo(58 / 56, 5)
  })

  test('all tokens on one sure expert cost E', () => {
    const logits = Array.from({ length: 5 }, () => [50, 0, 0, 0])
    const loss = value(() =>
      balanceLoss(tf.tensor2d(logits), tf.tensor1d([5, 0, 0, 0]), { scoring: 'softmax' }),
    )
    expect(loss).toBeCloseTo(4, 5)
  })

  test('the z-loss is the mean square of logsumexp', () => {
    const logits = [
      [0, 0],
      [Math.log(3), 0],
    ]
    expect(value(() => zLoss(tf.tensor2d(logits)))).toBeCloseTo((Math.log(2) ** 2 + Math.log(4) ** 2) / 2, 5)
  })
})

test('the choosing bias rises for experts below the mean load and falls for those above', () => {
  const bias = Float32Array.of(0, 0.5, 0, 0)
  updateScoreBias(bias, Int32Array.of(10, 0, 4, 2), 0.25) // the mean is 4
  expect([...bias]).toEqual([-0.25, 0.75, 0, 0.25])
})
