import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Tokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DOMAINS, type Domain, generateSample, type Sample } from '../../src/corpus/index.ts'
import { SPECIAL_TOKENS, trainTokenizer, VOCAB_SIZE } from '../../src/train/tokenizer.ts'

const json = trainTokenizer(1)
// Through text, as from a file.
const tokenizer = new Tokenizer(JSON.parse(JSON.stringify(json)), { clean_up_tokenization_spaces: false })

function samples(domain: Domain, count: number): Sample[] {
  return Array.from({ length: count }, (_, index) => generateSample(domain, 'validation', index, 1))
}

const everything = DOMAINS.flatMap((domain) => samples(domain, 100))

describe('vocabulary', () => {
  test('has 1,024 tokens, the special ones first', () => {
    expect(Object.keys(json.model.vocab)).toHaveLength(VOCAB_SIZE)
    expect(SPECIAL_TOKENS.map((token) => json.model.vocab[token])).toEqual([0, 1, 2])
    expect(json.added_tokens.map(({ id, content }) => [id, content])).toEqual([
      [0, '<pad>'],
      [1, '<s>'],
      [2, '</s>'],
    ])
  })

  test('has each digit once, alone', () => {
    const withDigits = Object.keys(json.model.vocab).filter((token) => /\d/.test(token))
    expect(withDigits.sort()).toEqual([...'0123456789'])
  })

  test('is pinned for a seed: the trained models depend on it', () => {
    expect(
      createHash('sha256').update(JSON.stringify(json)).digest('hex').slice(0, 16),
    ).toMatchInlineSnapshot(`"cefbc51c251c53c6"`)
  })
})

describe('encoding', () => {
  test('gives documents back', () => {
    for (const { text } of everything) expect(tokenizer.decode(tokenizer.encode(text).ids)).toBe(text)
  })

  test('gives any text back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }), (text) => {
        // what spells a special token is meant as one
        fc.pre(!/<\/?s>|<pad>/.test(text))
        expect(tokenizer.decode(tokenizer.encode(text).ids)).toBe(text)
      }),
    )
  })

  test('of a sum: one token a digit', () => {
    expect(tokenizer.tokenize('47+85: 7+5=12 carry 1; =132')).toEqual([
      ...['4', '7', '+', '8', '5', ':', 'Ġ', '7', '+', '5', '=', '1', '2'],
      ...['Ġcarry', 'Ġ', '1', ';', 'Ġ=', '1', '3', '2'],
    ])
  })

  test('of a prompt is the beginning of the encoding of prompt and answer', () => {
    for (const { text, prompt } of everything) {
      if (prompt === undefined) continue
      const ids = tokenizer.encode(prompt).ids
      expect(tokenizer.encode(text).ids.slice(0, ids.length), text).toEqual(ids)
    }
  })

  test('of documents one after the other: the special tokens part them', () => {
    const [first, second] = everything.map((sample) => sample.text)
    const ids = (text: string) => tokenizer.encode(text).ids
    expect(ids(`<s>${first}</s><s>${second}</s>`)).toEqual([1, ...ids(first), 2, 1, ...ids(second), 2])
  })
})

test('docs/corpus.md tells the lengths that are measured', () => {
  const docs = readFileSync(new URL('../../docs/corpus.md', import.meta.url), 'utf8').replace(/ +/g, ' ')
  const rows = DOMAINS.map((domain) => {
    const lengths = samples(domain, 400).map(({ text }) => ({
      chars: text.length,
      tokens: tokenizer.encode(text).ids.length,
    }))
    const sum = (of: 'chars' | 'tokens') => lengths.reduce((total, length) => total + length[of], 0)
    const longest = Math.max(...lengths.map(({ tokens }) => tokens))
    const row = [
      domain,
      (sum('chars') / 400).toFixed(0),
      (sum('tokens') / 400).toFixed(0),
      longest,
      (sum('chars') / sum('tokens')).toFixed(2),
    ]
    return `| ${row.join(' | ')} |`
  })
  expect(docs).toContain(rows.join('\n'))
})
