import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { cacheValue } from '../../src/graph/graph-cache.ts'
import { randomMatrix, randomNumbers } from '../helpers/random.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const SHAPE: [number, number, number, number, number] = [2, 1, 2, 4, 3]

/** Keys or values [1, 2, columns, 3]. */
function stored(columns: number, next: () => number): tf.Tensor4D {
  return tf.tensor4d(randomMatrix(2 * columns, 3, next).flat(), [1, 2, columns, 3])
}

test.each([null, 1, 4, 6])(
  'a cache of %s columns as the value of a variable with room for four',
  (columns) => {
    tf.tidy(() => {
      const next = randomNumbers(3)
      const layer = columns === null ? null : [stored(columns, next), stored(columns, next)]
      const value = tf.tensor5d(cacheValue(layer ?? [], SHAPE), SHAPE)
      const rows = (x: tf.Tensor4D) => x.arraySync()[0]
      const parts = layer ? layer.map(rows) : [[], []]
      const expected = parts.map((heads) =>
        [0, 1].map((head) => [0, 1, 2, 3].map((column) => heads[head]?.[column] ?? [0, 0, 0])),
      )
      expect(value.arraySync()).toEqual(expected.map((part) => [part]))
    })
  },
)
