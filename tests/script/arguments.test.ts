import { InvalidArgumentError } from 'commander'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decimal, repeated, tokenIds, wholeNumber } from '../../src/script/arguments.ts'

describe('wholeNumber', () => {
  test('reads digits', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (n) => {
        expect(wholeNumber(0)(String(n))).toBe(n)
      }),
    )
  })

  test.each(['3x', '-1', '1e99', '1e3', '', ' ', '1.5', '0x10', 'NaN', 'Infinity', '99999999999999999999'])(
    'refuses %j',
    (text) => {
      expect(() => wholeNumber(0)(text)).toThrow(new InvalidArgumentError('Expected a whole number from 0.'))
    },
  )

  test('has a least value', () => {
    expect(wholeNumber(1)('1')).toBe(1)
    expect(() => wholeNumber(1)('0')).toThrow('Expected a whole number from 1.')
  })
})

describe('decimal', () => {
  const parse = decimal('a number up to 2', (x) => x <= 2)

  test.each([
    ['0', 0],
    ['0.7', 0.7],
    ['.5', 0.5],
    ['2.', 2],
  ])('reads %j', (text, value) => {
    expect(parse(text)).toBe(value)
  })

  test.each(['', '-1', '1e0', '0.5x', '.', '2.1', 'Infinity'])('refuses %j', (text) => {
    expect(() => parse(text)).toThrow(new InvalidArgumentError('Expected a number up to 2.'))
  })
})

describe('tokenIds', () => {
  test('reads ids, with or without spaces', () => {
    expect(tokenIds('1,2,30')).toEqual([1, 2, 30])
    expect(tokenIds('1, 2, 30')).toEqual([1, 2, 30])
  })

  test.each(['', '1,,2', '1,', ',', '1,-2', '1;2', '1 2', '1,2x', '1e3'])('refuses %j', (text) => {
    expect(() => tokenIds(text)).toThrow('Expected token ids separated by commas, such as 1,2,3.')
  })

  test('given again, adds a sequence', () => {
    expect(repeated(tokenIds)('3', repeated(tokenIds)('1,2'))).toEqual([[1, 2], [3]])
  })
})
