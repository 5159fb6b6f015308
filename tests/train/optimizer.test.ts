import { expect, test } from 'vitest'
import { adamwStep, clipByGlobalNorm, zeroMoments } from '../../src/train/adamw.ts'
import { learningRate } from '../../src/train/schedule.ts'

test('two steps of AdamW by hand', () => {
  const settings = { beta1: 0.9, beta2: 0.95, epsilon: 0, weightDecay: 0.1 }
  const values = Float32Array.of(1)
  const moments = zeroMoments(1)
  // m^ / sqrt(v^) = 1 at the first step, so w = 1 - 0.1 (1 + 0.1 * 1)
  adamwStep(values, Float32Array.of(0.5), moments, 1, 0.1, settings)
  expect(values[0]).toBeCloseTo(0.89, 6)
  // m = 0.9 * 0.05 - 0.1 * 0.25 = 0.02, m^ = 0.02 / 0.19; v = 0.95 * 0.0125 + 0.05 * 0.0625 = 0.015, v^ = 0.015 / 0.0975
  // w = 0.89 - 0.1 (0.105263 / 0.392232 + 0.1 * 0.89)
  adamwStep(values, Float32Array.of(-0.25), moments, 2, 0.1, settings)
  expect(moments.first[0]).toBeCloseTo(0.02, 7)
  expect(moments.second[0]).toBeCloseTo(0.015, 7)
  expect(values[0]).toBeCloseTo(0.854263, 5)
})

test('weights without a gradient only decay', () => {
  const values = Float32Array.of(2)
  const settings = { beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1 }
  adamwStep(values, new Float32Array(1), zeroMoments(1), 1, 0.5, settings)
  expect(values[0]).toBeCloseTo(2 * (1 - 0.05), 6)
})

test('clipping scales all gradients by one factor, and only above the limit', () => {
  const long = [Float32Array.of(3, 0), Float32Array.of(4)]
  expect(clipByGlobalNorm(long, 1)).toBeCloseTo(5, 6)
  expect([...long[0], ...long[1]]).toEqual([0.6, 0, 0.8].map(Math.fround))
  const short = [Float32Array.of(0.3), Float32Array.of(0.4)]
  expect(clipByGlobalNorm(short, 1)).toBeCloseTo(0.5, 6)
  expect(short[0][0]).toBe(Math.fround(0.3))
})

test('the rate rises in a line, peaks, and falls along half a cosine to its floor', () => {
  const schedule = { steps: 111, warmup: 10, peak: 2, floor: 0.1 }
  expect(learningRate(0, schedule)).toBeCloseTo(0.2)
  expect(learningRate(9, schedule)).toBeCloseTo(2)
  expect(learningRate(10, schedule)).toBeCloseTo(2)
  expect(learningRate(60, schedule)).toBeCloseTo(2 * (0.1 + 0.9 / 2)) // the middle of the cosine
  expect(learningRate(110, schedule)).toBeCloseTo(0.2)
})

test('a training of one step has a rate', () => {
  expect(learningRate(0, { steps: 1, warmup: 1, peak: 2, floor: 0.1 })).toBe(2)
})
