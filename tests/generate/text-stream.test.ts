import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StopFilter, TextStream } from '../../src/generate/text-stream.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts'
import { tokenizerDir } from './fixtures.ts'

const styles = await Promise.all(
  ['', 'gpt2_style', 'spm_style'].map(
    async (style) => [style, (await loadTokenizer(tokenizerDir(style)))!] as const,
  ),
)

function pieces(tokenizer: Tokenizer, prompt: number[], tokens: number[]): string[] {
  const stream = new TextStream(tokenizer, prompt)
  return [...tokens.map((token) => stream.push(token)), stream.flush()]
}

const LONE_SURROGATE = /\p{Surrogate}/u

/** Text that spreads over several tokens a character, with spaces and line breaks in all places. */
const someText = fc
  .array(
    fc.constantFrom(
      'Hello',
      ' ',
      'x',
      '\n',
      'é',
      '混合',
      '😀',
      '👩‍👩‍👧',
      '\u{10FFFF}',
      ' the',
      '  ',
      '<s>',
      '<|eos|>',
    ),
    {
      minLength: 1,
      maxLength: 12,
    },
  )
  .map((parts) => parts.join(''))

describe.each(styles)('TextStream with tokenizer %j', (_, tokenizer) => {
  test('its pieces are whole characters and join to the decoded text', () => {
    fc.assert(
      fc.property(someText, (text) => {
        const tokens = tokenizer.encode(text)
        const all = pieces(tokenizer, [], tokens)
        expect(all.join('')).toBe(tokenizer.decode(tokens))
        for (const piece of all) {
          expect(piece).not.toContain('\uFFFD')
          expect(piece).not.toMatch(LONE_SURROGATE)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('prompt and new text read as one, wherever the prompt ends', () => {
    fc.assert(
      fc.property(someText, fc.nat(), (text, at) => {
        const tokens = tokenizer.encode(text)
        const end = at % (tokens.length + 1)
        const prompt = tokenizer.decode(tokens.slice(0, end))
        fc.pre(!prompt.includes('\uFFFD')) // a prompt that ends within a character
        const text2 = prompt + pieces(tokenizer, tokens.slice(0, end), tokens.slice(end)).join('')
        expect(text2).toBe(tokenizer.decode(tokens))
      }),
      { numRuns: 300 },
    )
  })

  test('any tokens at all give text without half a character, the broken ones marked', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(800), { maxLength: 40 }), (tokens) => {
        for (const piece of pieces(tokenizer, [], tokens)) expect(piece).not.toMatch(LONE_SURROGATE)
      }),
    )
  })
})

test('bytes of one character give nothing until the last one', () => {
  const [, tokenizer] = styles[2]
  const tokens = tokenizer.encode('x😀y', { addSpecialTokens: false })
  expect(pieces(tokenizer, [], tokens).filter((piece) => piece !== '')).toEqual(['x', '😀', 'y'])
  const cut = tokens.slice(0, 4) // x and three of the four bytes
  expect(pieces(tokenizer, [], cut)).toEqual(['x', '', '', '', '\uFFFD\uFFFD\uFFFD'])
})

describe('StopFilter', () => {
  const cut = (text: string, stops: string[]) => {
    const ends = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)
    return ends.length > 0 ? text.slice(0, Math.min(...ends)) : text
  }
  const someStops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 3, maxLength: 3 }), {
    maxLength: 3,
  })
  const somePieces = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 4 }), {
    maxLength: 12,
  })

  test('however the text is cut into pieces, it ends before the first stop text', () => {
    fc.assert(
      fc.property(somePieces, someStops, (parts, stops) => {
        const filter = new StopFilter(stops)
        let text = ''
        let stopped = false
        for (const part of parts) {
          const result = filter.push(part)
          text += result.text
          stopped = result.stopped
          if (stopped) break
        }
        if (!stopped) text += filter.flush()
        expect(text).toBe(cut(parts.join(''), stops))
        expect(stopped).toBe(stops.some((stop) => parts.join('').includes(stop)))
      }),
      { numRuns: 1000 },
    )
  })

  test('holds back only what may be the beginning of a stop text', () => {
    const filter = new StopFilter(['\n\nUser:'])
    expect(filter.push('Hello\n')).toEqual({ text: 'Hello', stopped: false })
    expect(filter.push('\nUs')).toEqual({ text: '', stopped: false })
    expect(filter.push('e it')).toEqual({ text: '\n\nUse it', stopped: false })
    expect(filter.push('.\n\nUser: x')).toEqual({ text: '.', stopped: true })
  })
})
