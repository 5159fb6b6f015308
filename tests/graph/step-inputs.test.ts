import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import {
  blocksInGraph,
  packedLength,
  packInputs,
  ropesOf,
  unpackInputs,
} from '../../src/graph/step-inputs.ts'
import type { QueryBlock } from '../../src/model/attention/kind.ts'
import { MASKED, queryBlocks } from '../../src/model/attention/mask.ts'
import type { LayerConfig, RopeConfig } from '../../src/model/config.ts'
import { ropeTables } from '../../src/model/rope.ts'
import { groupedAttention } from '../helpers/attention.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

/** Per sequence and head group a line a query, a letter a column that there is room for: x where the query may look. */
function seen(blocks: QueryBlock[], stored: number, S: number, B: number, groups: number): string[][] {
  const numbered = tf.reshape(tf.range(0, stored, 1, 'float32'), [1, 1, stored, 1]) as tf.Tensor4D
  const parts = blocks.map(({ tokens, cut, mask }) => {
    const columns = [...cut(numbered).dataSync()]
    const values = mask ?? tf.zeros([1, 1, groups * tokens, columns.length])
    const all = tf.broadcastTo(values, [B, 1, groups * tokens, columns.length])
    const nested = tf.reshape(all, [B * groups, tokens, columns.length]).arraySync() as number[][][]
    return nested.map((queries) =>
      queries.map((row) => {
        const line = new Array<string>(S).fill('.')
        for (const [i, column] of columns.entries()) if (row[i] === 0) line[column] = 'x'
        return line.join('')
      }),
    )
  })
  return parts[0].map((_, g) => parts.flatMap((part) => part[g]))
}

test('what queries see in the graph is what they see on the host, for any padding, window and number of blocks', () => {
  const cases = fc.record({
    batch: fc.integer({ min: 1, max: 3 }),
    tokens: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constantFrom(16, 17, 64, 65, 150)),
    before: fc.integer({ min: 0, max: 9 }),
    spare: fc.integer({ min: 0, max: 5 }),
    kvHeads: fc.constantFrom(2, 4),
    slidingWindow: fc.option(fc.oneof(fc.integer({ min: 1, max: 80 }), fc.constant(2 ** 40))),
    padding: fc.infiniteStream(fc.boolean()),
  })
  fc.assert(
    fc.property(cases, ({ batch, tokens, before, spare, kvHeads, slidingWindow, padding }) => {
      const shape = { groups: 4 / kvHeads, slidingWindow }
      const filled = before + tokens
      const capacity = filled + spare
      const columns = Array.from({ length: batch }, () =>
        Uint8Array.from({ length: capacity }, (_, j) =>
          j < filled && (padding.next().value || j === before) ? 1 : 0,
        ),
      )
      const known = columns.map((row) => row.subarray(0, filled))
      const sizes = { batch, tokens, capacity }
      tf.tidy(() => {
        const empty = tf.tensor1d(columns.flatMap((row) => [...row].map((holds) => (holds ? 0 : MASKED))))
        const by = (blocks: QueryBlock[], stored: number) =>
          seen(blocks, stored, capacity, batch, 4 / kvHeads)
        const whole = by(queryBlocks(known, tokens, shape, tokens), filled) // the definition: one mask for all
        const inBlocks = by(queryBlocks(known, tokens, shape), filled)
        const inputs = { first: tf.tensor1d([before], 'int32'), firstNumber: tf.tensor1d([before]), empty }
        const inGraph = by(blocksInGraph(inputs, sizes, shape), capacity)
        expect(inBlocks).toEqual(whole)
        expect(inGraph).toEqual(whole)
      })
    }),
    { numRuns: 60 },
  )
})

const ROPE = { theta: 10000, scaling: { type: 'default' as const } }
const layer = (headDim: number, rope: RopeConfig = ROPE): LayerConfig => ({
  attention: groupedAttention({ numHeads: 4, numKeyValueHeads: 2, headDim, rope }),
  feedForward: { kind: 'dense', intermediateSize: 8, bias: false },
})

test('each rotary table that a layer asks for is asked for once', () => {
  const other = { ...ROPE, theta: 500 }
  const before = tf.memory().numTensors
  const ropes = ropesOf([layer(8), layer(8), layer(16), layer(8, other), layer(16)])
  expect(ropes.map(({ rope, headDim }) => [rope, headDim])).toEqual([
    [ROPE, 8],
    [ROPE, 16],
    [other, 8],
  ])
  expect(tf.memory().numTensors).toBe(before)
})

test('what is packed is unpacked: whole numbers, and numbers of float32 to the last bit', () => {
  const sizes = { batch: 2, tokens: 2, capacity: 4 }
  const partial = { ...ROPE, rotaryDim: 4 }
  const ropes = ropesOf([layer(8), layer(8, partial)])
  const inputs = {
    firstColumn: 9,
    lastRows: Int32Array.from([1, 3]),
    tokens: Int32Array.from([7, 8, 70_000, 200_000]),
    positions: Int32Array.from([4, 5, 4095, 131_071]),
    columns: [Uint8Array.from([1, 1, 1, 0]), Uint8Array.from([0, 1, 1, 0])],
  }
  const packed = packInputs(inputs, sizes, ropes)
  expect(packedLength(sizes, ropes)).toBe(packed.length)
  tf.tidy(() => {
    const { tokens, lastRows, first, attention } = unpackInputs(tf.tensor1d(packed, 'int32'), sizes, ropes)
    expect([...tokens.dataSync()]).toEqual([...inputs.tokens])
    expect([...lastRows.dataSync()]).toEqual([1, 3])
    expect([...first.dataSync()]).toEqual([9])
    for (const { rope, headDim } of ropes) {
      const expected = ropeTables(inputs.positions, 2, rope, headDim)
      const { cos, sin } = attention.rope(rope, headDim)
      expect(cos.shape).toEqual(expected.cos.shape)
      expect([...cos.dataSync()]).toEqual([...expected.cos.dataSync()])
      expect([...sin.dataSync()]).toEqual([...expected.sin.dataSync()])
    }
  })
})
