import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConfigError, TinymoeError } from '../../src/errors.ts'
import { escaped, excerpt, quoted, shown } from '../../src/text/foreign.ts'

/** What a terminal obeys, hides or breaks a line at. */
const DANGEROUS = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

test('whatever a text holds, it is one line without control bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      for (const safe of [escaped(text), quoted(text), excerpt(text), shown(text)]) {
        expect(safe).not.toMatch(DANGEROUS)
      }
    }),
  )
})

test('what is dangerous can still be read', () => {
  expect(escaped('a\x1b[2Jb\nc\td\u202ee\u2028f')).toBe('a\\u{1b}[2Jb\\nc\\td\\u{202e}e\\u{2028}f')
  expect(quoted('say "\\"\x07')).toBe('"say \\"\\\\\\"\\u{7}"')
  expect(escaped('größer, 日本, 🙂')).toBe('größer, 日本, 🙂')
})

describe('values from files', () => {
  test.each<[unknown, string]>([
    ['two', '"two"'],
    [2, '2'],
    [null, 'null'],
    [undefined, 'undefined'],
    [{ a: [1, 'x\x1b'] }, '{"a":[1,"x\\u001b"]}'],
  ])('%j is shown as %s', (value, text) => {
    expect(shown(value)).toBe(text)
  })

  test('are cut', () => {
    expect(shown('x'.repeat(1e6))).toBe(`"${'x'.repeat(200)}..."`)
    expect(shown(new Array(1e5).fill(1))).toHaveLength(203)
    expect(excerpt('y'.repeat(1e6))).toHaveLength(203)
  })
})

test('every message of ours is one line, whatever it was made of', () => {
  const [first, second] = [new TinymoeError('a\nb\x1b[31m'), new ConfigError('c\u0007\r')]
  expect([first.message, second.message]).toEqual(['a\\nb\\u{1b}[31m', 'c\\u{7}\\r'])
})
