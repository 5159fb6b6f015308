import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonRow, table } from '../../src/cli/output.ts'

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

test('table aligns numbers right and texts left', () => {
  const rows = [
    ['token', 'logit', 'text'],
    ['7', '-12.5', 'a'],
    ['160', '3.0', 'bc'],
  ]
  expect(table(rows, [2])).toBe('token  logit  text\n    7  -12.5  a\n  160    3.0  bc\n')
})
