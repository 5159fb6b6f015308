import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { colourDepth } from '../../src/cli/colour-depth.ts'
import { quoted } from '../../src/text/foreign.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts'
import { painted } from '../../src/trace/ansi.ts'
import { expertColour } from '../../src/trace/colours.ts'
import { tokenTexts } from '../../src/trace/token-text.ts'
import { tokenizerDir } from '../generate/fixtures.ts'

describe('texts of tokens', () => {
  let tokenizer: Tokenizer
  const rows = (ids: number[], sequence = 0) => ids.map((token, position) => ({ sequence, position, token }))

  test.each(['', 'spm_style', 'gpt2_style'])('together are the text (%s)', async (style) => {
    tokenizer = (await loadTokenizer(tokenizerDir(style)))!
    const text = 'the cat sat on the mat, and the dog too'
    const ids = await tokenizer.encode(text, { addSpecialTokens: false })
    expect((await tokenTexts(rows(ids), tokenizer)).join('')).toBe(text)
  })

  describe('of several sequences and of parts of characters', () => {
    beforeAll(async () => {
      tokenizer = (await loadTokenizer(tokenizerDir('')))!
    })

    test('begin anew with each sequence', async () => {
      const ids = await tokenizer.encode('the cat', { addSpecialTokens: false })
      const once = await tokenTexts(rows(ids), tokenizer)
      expect(await tokenTexts([...rows(ids), ...rows(ids, 1)], tokenizer)).toEqual([...once, ...once])
    })

    test('a byte of a longer character is the replacement character', async () => {
      const ids = await tokenizer.encode('\u{1F9A9}', { addSpecialTokens: false })
      expect(ids.length).toBeGreaterThan(1)
      for (const text of await tokenTexts(rows(ids), tokenizer)) expect(text).toContain('\uFFFD')
    })
  })
})

describe('quoted', () => {
  test.each([
    ['a "b" \\', '"a \\"b\\" \\\\"'],
    ['\n\r\t', '"\\n\\r\\t"'],
    ['\x1b[2J\x9b31m\x07', '"\\u{1b}[2J\\u{9b}31m\\u{7}"'],
    ['\u202eabc\u2066', '"\\u{202e}abc\\u{2066}"'], // would turn the line around
    ['\u2028\u00a0\u200b\ud800', '"\\u{2028}\\u{a0}\\u{200b}\\u{d800}"'],
    ['é漢🦩', '"é漢🦩"'],
  ])('%j', (text, shown) => {
    expect(quoted(text)).toBe(shown)
  })

  test('holds nothing that a terminal obeys', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(quoted(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
      }),
    )
  })
})

describe('colours', () => {
  const terminal = { isTTY: true }
  const pipe = { isTTY: false }

  test('only on a terminal that has them, unless forced; never with NO_COLOR', () => {
    expect(colourDepth(terminal, { TERM: 'xterm-256color' })).toBe(8)
    expect(colourDepth(terminal, { TERM: 'xterm', COLORTERM: 'truecolor' })).toBe(24)
    expect(colourDepth(terminal, { TERM: 'xterm' })).toBe(4)
    expect(colourDepth(terminal, { TERM: 'dumb' })).toBe(0)
    expect(colourDepth(pipe, { TERM: 'xterm-256color' })).toBe(0)
    expect(colourDepth(terminal, { TERM: 'xterm-256color', NO_COLOR: '1' })).toBe(0)
    expect(colourDepth(pipe, { FORCE_COLOR: '3' })).toBe(24)
    expect(colourDepth(pipe, { FORCE_COLOR: '2' })).toBe(8)
    expect(colourDepth(pipe, { FORCE_COLOR: '' })).toBe(4)
    expect(colourDepth(terminal, { TERM: 'xterm', FORCE_COLOR: '0' })).toBe(0)
    expect(colourDepth(terminal, { FORCE_COLOR: '3', NO_COLOR: '1' })).toBe(0)
  })

  test('every expert has one, and neighbours differ', () => {
    const colours = Array.from({ length: 256 }, (_, e) => expertColour(e))
    for (const colour of colours) expect(colour).toMatch(/^#[0-9a-f]{6}$/)
    expect(new Set(colours).size).toBe(256)
  })

  test('as codes of the terminal, closest where it has fewer', () => {
    expect(painted('x', 0, 24)).toBe('\x1b[38;2;59;130;246mx\x1b[39m') // #3b82f6
    expect(painted('x', 0, 8)).toBe('\x1b[38;5;75mx\x1b[39m') // 16 + 36 * 1 + 6 * 3 + 5
    expect(painted('x', 0, 4)).toBe('\x1b[94mx\x1b[39m')
    expect(painted('x', 0, 0)).toBe('x')
  })
})
