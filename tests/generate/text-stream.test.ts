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

async function pieces(tokenizer: Tokenizer, prompt: number[], tokens: number[]): Promise<string[]> {
  const stream = new TextStream(tokenizer, prompt)
  const all: string[] = []
  for (const token of tokens) all.push(await stream.push(token))
  return [...all, await stream.flush()]
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
      '\uFFFD',
    ),
    {
      minLength: 1,
      maxLength: 12,
    },
  )
  .map((parts) => parts.join(''))

/** What a text adds to another that it begins with, but for an end that was no whole character yet. */
function added(before: string, whole: string): string {
  let same = 0
  while (same < before.length && before[same] === whole[same]) same++
  if (/[\uD800-\uDBFF]$/.test(whole.slice(0, same))) same--
  return whole.slice(same)
}

describe.each(styles)('TextStream with tokenizer %j', (_, tokenizer) => {
  test('its pieces are whole characters and join to the decoded text', async () => {
    await fc.assert(
      fc.asyncProperty(someText, async (text) => {
        const tokens = await tokenizer.encode(text)
        const all = await pieces(tokenizer, [], tokens)
        expect(all.join('')).toBe(await tokenizer.decode(tokens))
        for (const piece of all) {
          if (!text.includes('\uFFFD')) expect(piece).not.toContain('\uFFFD')
          expect(piece).not.toMatch(LONE_SURROGATE)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('prompt and new text read as one, wherever the prompt ends', async () => {
    await fc.assert(
      fc.asyncProperty(someText, fc.nat(), async (text, at) => {
        const tokens = await tokenizer.encode(text)
        const end = at % (tokens.length + 1)
        const [prompt, whole] = [await tokenizer.decode(tokens.slice(0, end)), await tokenizer.decode(tokens)]
        const all = await pieces(tokenizer, tokens.slice(0, end), tokens.slice(end))
        expect(all.join('')).toBe(added(prompt, whole))
      }),
      { numRuns: 300 },
    )
  })

  test('any tokens at all behind any others give what decoding them together adds', async () => {
    const someTokens = fc.array(fc.nat(800), { maxLength: 25 })
    await fc.assert(
      fc.asyncProperty(someTokens, someTokens, async (prompt, tokens) => {
        const all = await pieces(tokenizer, prompt, tokens)
        for (const piece of all) expect(piece).not.toMatch(LONE_SURROGATE)
        const [before, whole] = [
          await tokenizer.decode(prompt),
          await tokenizer.decode([...prompt, ...tokens]),
        ]
        expect(all.join('')).toBe(added(before, whole))
      }),
      { numRuns: 300 },
    )
  })

  test('a prompt that ends in U+FFFD keeps the space after it', async () => {
    const tokens = await tokenizer.encode('a \uFFFD b', { addSpecialTokens: false })
    for (let end = 1; end < tokens.length; end++) {
      const before = await tokenizer.decode(tokens.slice(0, end))
      const all = await pieces(tokenizer, tokens.slice(0, end), tokens.slice(end))
      expect(all.join('')).toBe(added(before, await tokenizer.decode(tokens)))
    }
  })
})

test('bytes of one character give nothing until it is whole', async () => {
  const [, tokenizer] = styles[2]
  const tokens = await tokenizer.encode('x😀y', { addSpecialTokens: false })
  expect((await pieces(tokenizer, [], tokens)).filter((piece) => piece !== '')).toEqual(['x', '😀y'])
  const cut = tokens.slice(0, 4) // x and three of the four bytes
  expect(await pieces(tokenizer, [], cut)).toEqual(['x', '', '', '', '\uFFFD\uFFFD\uFFFD'])
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
