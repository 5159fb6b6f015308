import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { maskInGraph, packedLength, packInputs, ropeInGraph } from '../../src/graph/step-inputs.ts'
import { maskValues } from '../../src/model/attention.ts'
import { ropeFrequencies, ropeValues } from '../../src/model/rope.ts'
import { startRuntime } from '../../src/runtime/index.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomModel } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

test('the mask made in the graph is the one made on the host, for any padding and window', () => {
  const cases = fc.record({
    batch: fc.integer({ min: 1, max: 3 }),
    tokens: fc.integer({ min: 1, max: 6 }),
    before: fc.integer({ min: 0, max: 9 }),
    spare: fc.integer({ min: 0, max: 5 }),
    kvHeads: fc.constantFrom(1, 2, 4),
    slidingWindow: fc.option(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.constant(2 ** 40))),
    padding: fc.infiniteStream(fc.boolean()),
  })
  fc.assert(
    fc.property(cases, ({ batch, tokens, before, spare, kvHeads, slidingWindow, padding }) => {
      const attention = { numHeads: 4, numKeyValueHeads: kvHeads, headDim: 2, bias: false, slidingWindow }
      const capacity = before + tokens + spare
      const columns = Array.from({ length: batch }, () =>
        Uint8Array.from({ length: capacity }, (_, j) =>
          j < before + tokens && (padding.next().value || j === before) ? 1 : 0,
        ),
      )
      const expected = maskValues(columns, before, tokens, attention)
      const actual = tf.tidy(() => {
        const valid = tf.tensor1d(
          columns.flatMap((row) => [...row]),
          'int32',
        )
        const sizes = { batch, tokens, capacity }
        return maskInGraph(tf.tensor1d([before], 'int32'), valid, sizes, attention).dataSync()
      })
      expect(maxDifference(actual, expected)).toBe(0)
    }),
    { numRuns: 60 },
  )
})

test('rotary tables made in the graph are those made on the host, at the first positions and at far ones', () => {
  const model = randomModel({ D: 64, heads: 2 })
  const positions = Int32Array.from([0, 1, 2, 3, 50, 4095, 32767, 131071])
  const expected = ropeValues(positions, ropeFrequencies(model.config.rope, 32))
  tf.tidy(() => {
    const sizes = { batch: 2, tokens: 4, capacity: 4 }
    const { cos, sin } = ropeInGraph(tf.tensor1d(positions, 'int32'), sizes, model.config)
    expect(cos.shape).toEqual([2, 4, 1, 32])
    expect(maxDifference(cos.dataSync(), expected.cos)).toBeLessThan(3e-7)
    expect(maxDifference(sin.dataSync(), expected.sin)).toBeLessThan(3e-7)
  })
  model.dispose()
})

test('inputs stand one after the other', () => {
  const sizes = { batch: 2, tokens: 1, capacity: 3 }
  const packed = packInputs(
    {
      firstColumn: 9,
      lastRows: Int32Array.from([0, 1]),
      tokens: Int32Array.from([7, 8]),
      positions: Int32Array.from([4, 5]),
      columns: [Uint8Array.from([1, 1, 0]), Uint8Array.from([0, 1, 0])],
    },
    sizes,
  )
  expect([...packed]).toEqual([9, 0, 1, 7, 8, 4, 5, 1, 1, 0, 0, 1, 0])
  expect(packedLength(sizes)).toBe(packed.length)
})
