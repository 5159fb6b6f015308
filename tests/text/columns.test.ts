import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { displayWidth, fitted, table } from '../../src/text/columns.ts'

describe('display width', () => {
  test.each([
    ['abc', 3],
    ['漢字', 4],
    ['한', 2],
    ['e\u0301', 1],
    ['🦩', 2],
    ['👩\u200d🔬', 2],
    ['❤\ufe0f', 2],
    ['', 0],
  ])('of %s is %i', (text, width) => {
    expect(displayWidth(text)).toBe(width)
  })

  test('fitted text has exactly the width, and ends in an ellipsis where it was cut', () => {
    expect([fitted('ab', 4), fitted('abcde', 4), fitted('漢字漢', 4), fitted('漢字', 4)]).toEqual([
      'ab  ',
      'abc…',
      '漢… ',
      '漢字',
    ])
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 20 }), (text, width) => {
        expect(displayWidth(fitted(text, width))).toBe(width)
      }),
    )
  })
})

test('table aligns numbers right and texts left', () => {
  const rows = [
    ['token', 'logit', 'text'],
    ['7', '-12.5', 'a'],
    ['160', '3.0', 'bc'],
  ]
  expect(table(rows, [2])).toBe('token  logit  text\n    7  -12.5  a\n  160    3.0  bc\n')
})

test('table aligns by what a terminal shows, not by characters', () => {
  const rows = [
    ['name', 'n'],
    ['漢字', '1'],
    ['abc', '10'],
  ]
  expect(table(rows, [0])).toBe('name   n\n漢字   1\nabc   10\n')
})
