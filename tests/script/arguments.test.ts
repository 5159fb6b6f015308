import { InvalidArgumentError } from 'commander'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  amount,
  byteCount,
  decimal,
  positive,
  repeated,
  tokenIds,
  wholeNumber,
} from '../../src/script/arguments.ts'

describe('wholeNumber', () => {
  const parse = wholeNumber(0, Number.MAX_SAFE_INTEGER)

  test('reads digits', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (n) => {
        expect(parse(String(n))).toBe(n)
      }),
    )
  })

  test.each([
    ['1e3', 1000],
    ['2.5E2', 250],
    ['3.0', 3],
    ['+7', 7],
    ['5000e-3', 5],
  ])('reads %j', (text, value) => {
    expect(parse(text)).toBe(value)
  })

  test.each(['3x', '-1', '1e99', '1e', '', ' ', '1.5', '1e-3', '0x10', 'NaN', 'Infinity', '9'.repeat(20)])(
    'refuses %j',
    (text) => {
      expect(() => parse(text)).toThrow(
        new InvalidArgumentError('Expected a whole number from 0 to 9007199254740991.'),
      )
    },
  )

  test('has a least and a largest value', () => {
    const few = wholeNumber(1, 64)
    expect([few('1'), few('64')]).toEqual([1, 64])
    for (const text of ['0', '65']) {
      expect(() => few(text)).toThrow('Expected a whole number from 1 to 64.')
    }
  })
})

describe('decimal', () => {
  const parse = decimal('a number up to 2', (x) => x <= 2)

  test.each([
    ['0', 0],
    ['0.7', 0.7],
    ['.5', 0.5],
    ['2.', 2],
    ['1e-3', 0.001],
    ['1e0', 1],
    ['-1', -1],
  ])('reads %j', (text, value) => {
    expect(parse(text)).toBe(value)
  })

  test.each(['', '0.5x', '.', '2.1', '1e', 'e3', '1e1', '1e999', 'Infinity', '1_000'])(
    'refuses %j',
    (text) => {
      expect(() => parse(text)).toThrow(new InvalidArgumentError('Expected a number up to 2.'))
    },
  )
})

test('positive has a limit, and a name for what it is', () => {
  expect(positive(10)('1e-3')).toBe(0.001)
  for (const text of ['0', '-1', '11', '1e2']) {
    expect(() => positive(10, 'a factor')(text)).toThrow('Expected a factor above 0 and up to 10.')
  }
})

test.each([
  ['37B', 37e9],
  ['14.8T', 14.8e12],
  ['2788000', 2788000],
  ['1.5e13', 1.5e13],
  ['1e3K', 1e6],
])('amount reads %j', (text, value) => {
  expect(amount(text)).toBe(value)
})

test.each(['', '0', '-1', 'B', '14.8Q', '1e99', '1e7T', '37BB'])('amount refuses %j', (text) => {
  expect(() => amount(text)).toThrow('Expected a positive amount up to 1000000T,')
})

test.each([
  ['2GB', 2e9],
  ['1.5G', 1.5e9],
  ['500MB', 5e8],
  ['64K', 64e3],
  ['2e9', 2e9],
  ['3TB', 3e12],
  ['100B', 100],
])('byteCount reads %j', (text, value) => {
  expect(byteCount(text)).toBe(value)
})

test.each(['', '0', '-1GB', 'GB', '2GiB', '2gb', '0.5', '1e9T'])('byteCount refuses %j', (text) => {
  expect(() => byteCount(text)).toThrow('Expected a number of bytes up to 9007TB, such as 2GB, 500MB or 2e9.')
})

describe('tokenIds', () => {
  test('reads ids, with or without spaces', () => {
    expect(tokenIds('1,2,30')).toEqual([1, 2, 30])
    expect(tokenIds('1, 2, 30')).toEqual([1, 2, 30])
    expect(tokenIds('1e3')).toEqual([1000])
  })

  test.each(['', '1,,2', '1,', ',', '1,-2', '1;2', '1 2', '1,2x', '1,1.5', '1e99'])('refuses %j', (text) => {
    expect(() => tokenIds(text)).toThrow('Expected token ids separated by commas, such as 1,2,3.')
  })

  test('given again, adds a sequence', () => {
    expect(repeated(tokenIds)('3', repeated(tokenIds)('1,2'))).toEqual([[1, 2], [3]])
  })
})
