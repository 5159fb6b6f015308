import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { blocksInGraph, packedLength, packInputs, ropeInGraph } from '../../src/graph/step-inputs.ts'
import type { QueryBlock } from '../../src/model/attention/kind.ts'
import { queryBlocks } from '../../src/model/attention/mask.ts'
import { ropeTables } from '../../src/model/rope.ts'
import { maxDifference } from '../helpers/golden.ts'

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
        const valid = tf.tensor1d(
          columns.flatMap((row) => [...row]),
          'int32',
        )
        const by = (blocks: QueryBlock[], stored: number) =>
          seen(blocks, stored, capacity, batch, 4 / kvHeads)
        const whole = by(queryBlocks(known, tokens, shape, tokens), filled) // the definition: one mask for all
        const inBlocks = by(queryBlocks(known, tokens, shape), filled)
        const first = tf.tensor1d([before], 'int32')
        const inGraph = by(blocksInGraph(first, valid, sizes, shape), capacity)
        expect(inBlocks).toEqual(whole)
        expect(inGraph).toEqual(whole)
      })
    }),
    { numRuns: 60 },
  )
})

test('rotary tables made in the graph are those made on the host, at the first positions and at far ones', () => {
  const rope = { theta: 10000, scaling: { type: 'default' as const } }
  const positions = Int32Array.from([0, 1, 2, 3, 50, 4095, 32767, 131071])
  tf.tidy(() => {
    const expected = ropeTables(positions, 2, rope, 32)
    const sizes = { batch: 2, tokens: 4, capacity: 4 }
    const { cos, sin } = ropeInGraph(tf.tensor1d(positions, 'int32'), sizes, rope, 32)
    expect(cos.shape).toEqual([2, 4, 1, 32])
    expect(maxDifference(cos.dataSync(), expected.cos.dataSync())).toBeLessThan(3e-7)
    expect(maxDifference(sin.dataSync(), expected.sin.dataSync())).toBeLessThan(3e-7)
  })
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
