import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonRow } from '../../src/script/output.ts'

test('numbers in JSON read back as the same float32', () => {
  fc.assert(
    fc.property(fc.float32Array({ noNaN: true, noDefaultInfinity: true }), (values) => {
      const read = Float32Array.from(JSON.parse(jsonRow(values)))
      expect(read).toEqual(values.map((value) => value + 0)) // minus zero is written 0
    }),
    { numRuns: 1000 },
  )
})

test('what is no number is null in JSON', () => {
  expect(jsonRow(Float32Array.of(1, Number.NaN, Number.POSITIVE_INFINITY))).toBe('[1,null,null]')
})
