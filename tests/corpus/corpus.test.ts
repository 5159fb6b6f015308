import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  checkAnswer,
  corpus,
  DOMAINS,
  type Domain,
  generateSample,
  type Sample,
  SPLITS,
  verifyText,
} from '../../src/corpus/index.ts'

const domain = fc.constantFrom(...DOMAINS)
const split = fc.constantFrom(...SPLITS)
const seed = fc.integer({ min: 0, max: 2 ** 31 - 1 })

function samples(of: Domain, count: number): Sample[] {
  return Array.from({ length: count }, (_, index) => generateSample(of, 'validation', index, 1))
}

describe('one seed gives one corpus', () => {
  test('pinned: a change of the generator changes what models are trained on, so it is made on purpose', () => {
    const hash = createHash('sha256')
    for (const sample of corpus({ split: 'train', seed: 1, samples: 5000 })) hash.update(`${sample.text}\n`)
    expect(hash.digest('hex').slice(0, 16)).toMatchInlineSnapshot(`"48bf4979971d9020"`)
  })

  test('a document depends on its domain, split, index and seed alone', () => {
    fc.assert(
      fc.property(domain, split, fc.nat(), seed, (d, s, index, n) => {
        expect(generateSample(d, s, index, n)).toEqual(generateSample(d, s, index, n))
      }),
    )
  })

  test('a shorter corpus is the beginning of a longer one', () => {
    const texts = (count: number) =>
      [...corpus({ split: 'heldout', seed: 3, samples: count })].map((sample) => sample.text)
    expect(texts(300).slice(0, 100)).toEqual(texts(100))
  })

  test('other seeds and other indices give other documents', () => {
    for (const d of DOMAINS) {
      const texts = [1, 2].flatMap((n) =>
        Array.from({ length: 50 }, (_, index) => generateSample(d, 'train', index, n).text),
      )
      expect(new Set(texts).size, d).toBeGreaterThan(90)
    }
  })
})

describe('every document is right by the independent verifier', () => {
  test.each(DOMAINS)('%s', (d) => {
    const problems: string[] = []
    for (const s of SPLITS) {
      for (let index = 0; index < 1500; index++) {
        const { text } = generateSample(d, s, index, 7)
        problems.push(...verifyText(d, text).map((problem) => `${problem}: ${text}`))
      }
    }
    expect(problems).toEqual([])
  })

  test('for any seed', () => {
    fc.assert(
      fc.property(domain, split, fc.nat(), seed, (d, s, index, n) => {
        const { text } = generateSample(d, s, index, n)
        expect(verifyText(d, text), text).toEqual([])
      }),
      { numRuns: 500 },
    )
  })
})

describe('answers', () => {
  test('follow the prompt, and what follows it is right', () => {
    for (const sample of DOMAINS.flatMap((d) => samples(d, 300))) {
      if (sample.prompt === undefined || sample.answer === undefined) continue
      expect(sample.prompt + sample.answer).toBe(sample.text)
      // one line, and the prompt ends where a token ends: before a space or a digit
      expect(sample.answer).toMatch(/^[ \d][^\n]*$/)
      expect(checkAnswer(sample, sample.answer)).toBe(true)
      expect(checkAnswer(sample, `${sample.answer}\nand more`)).toBe(true)
      expect(checkAnswer(sample, '')).toBe(false)
      expect(checkAnswer(sample, `${sample.answer}0`)).toBe(false)
    }
  })

  test('are there for arithmetic, data and dates, and for brackets', () => {
    for (const d of ['arithmetic', 'data', 'dates'] as const) {
      expect(samples(d, 200).every((sample) => sample.answer !== undefined)).toBe(true)
    }
    const code = samples('code', 200)
    expect(code.some((sample) => sample.form === 'brackets')).toBe(true)
    expect(code.every((sample) => (sample.answer !== undefined) === (sample.form === 'brackets'))).toBe(true)
  })

  test('are scored by the result, whatever the working says', () => {
    const worked = samples('arithmetic', 50).find((sample) => sample.form === 'worked')!
    const sum = worked.answer!.split('=').at(-1)
    expect(checkAnswer(worked, ` nonsense; =${sum}`)).toBe(true)
    expect(checkAnswer(worked, worked.answer!.replace(/=\d+$/, '=7'))).toBe(false)
  })

  test('are asked only where there is one', () => {
    expect(() => checkAnswer(samples('story', 1)[0], '')).toThrow(/story|form/)
  })
})

describe('the mix', () => {
  const chars = (options: Parameters<typeof corpus>[0]) => {
    const counts = Object.fromEntries(DOMAINS.map((d) => [d, 0])) as Record<Domain, number>
    for (const sample of corpus(options)) counts[sample.domain] += sample.text.length
    return counts
  }

  test.each(SPLITS)('domains have equal shares of the characters (%s)', (s) => {
    const counts = chars({ split: s, seed: 1, chars: 1_000_000 })
    for (const d of DOMAINS) {
      expect(counts[d] / 1_000_000, d).toBeGreaterThan(0.9 / 6)
      expect(counts[d] / 1_000_000, d).toBeLessThan(1.1 / 6)
    }
  })

  test('shares can be given', () => {
    const counts = chars({ split: 'train', seed: 1, chars: 400_000, mix: { story: 3, dates: 1 } })
    expect(counts.story / counts.dates).toBeGreaterThan(2.7)
    expect(counts.story / counts.dates).toBeLessThan(3.3)
    expect(counts.code).toBe(0)
  })

  test('shares that are none are refused', () => {
    const first = (mix: object) => corpus({ split: 'train', seed: 1, mix }).next()
    expect(() => first({ story: -1 })).toThrow('share of story is -1')
    expect(() => first({ story: Number.NaN })).toThrow('share of story is NaN')
    expect(() => first({})).toThrow('positive weight')
  })

  test('stops at the number of documents or once the characters are reached', () => {
    const all = (options: { samples?: number; chars?: number }) => [
      ...corpus({ split: 'train', seed: 1, ...options }),
    ]
    expect(all({ samples: 17 })).toHaveLength(17)
    expect(all({ samples: 0 })).toEqual([])
    const texts = all({ chars: 5000 }).map((sample) => sample.text)
    expect(texts.join('').length).toBeGreaterThanOrEqual(5000)
    expect(texts.slice(0, -1).join('').length).toBeLessThan(5000)
  })

  test('all domains come early, so that each batch can hold all of them', () => {
    const seen = new Set(
      [...corpus({ split: 'train', seed: 1, samples: 120 })].map((sample) => sample.domain),
    )
    expect([...seen].sort()).toEqual([...DOMAINS].sort())
  })
})
