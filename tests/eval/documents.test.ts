import { describe, expect, test } from 'vitest'
import { DOMAINS, generateSample, splitOf, verifyText } from '../../src/corpus/index.ts'
import { documentsOfTokens, openingsOf, questionsOf, TextCodec } from '../../src/eval/documents.ts'
import { projectCodec, TEXT_CONFIG } from './oracle.ts'

const HELDOUT = { split: 'heldout', seed: 1 } as const

describe('texts as a model reads them', () => {
  test('have its marks at both ends', async () => {
    const codec = await projectCodec()
    const { tokens, characters, cut } = await codec.document('german', 'für „dich“')
    expect([tokens[0], tokens.at(-1), characters, cut]).toEqual([1, 2, 10, false])
    expect(await codec.text(tokens)).toBe('für „dich“')
    const prompt = await codec.prompt('für')
    expect(prompt).toEqual(tokens.slice(0, prompt.length))
  })

  test('are cut at its last position', async () => {
    const codec = await projectCodec({ maxPositionEmbeddings: 5 })
    expect(await codec.document('arithmetic', '70+48=118')).toMatchObject({
      tokens: { length: 5 },
      cut: true,
    })
  })

  test('without marks lack them, and it is said', async () => {
    const codec = await projectCodec({ bosTokenId: null as never, eosTokenIds: [] })
    expect(await codec.prompt('70')).toEqual((await codec.document('arithmetic', '70')).tokens)
    expect(codec.notes()).toEqual([
      "the model's config has no bos_token_id, so the first token of a document is not predicted",
      "the model's config has no eos_token_id, so the end of a document is not predicted and texts run on to their limit",
    ])
    expect((await projectCodec()).notes()).toEqual([])
  })

  test('that the model cannot read are an error', async () => {
    expect(() => new TextCodec('a/model', TEXT_CONFIG, null)).toThrow('a/model: has no tokenizer.json')
    const codec = await projectCodec({ vocabSize: 20 })
    await expect(codec.prompt('x')).rejects.toThrow(
      /^model: tokenizer\.json gives token \d+, but the model has 20 \(vocab_size\)$/,
    )
  })
})

test('documents of so many tokens are the first ones, the last whole', async () => {
  const codec = await projectCodec()
  const documents = await documentsOfTokens(codec, ['dates'], HELDOUT, 100)
  const lengths = documents.map(({ tokens }) => tokens.length)
  const total = lengths.reduce((a, b) => a + b, 0)
  expect(total).toBeGreaterThanOrEqual(100)
  expect(total - lengths.at(-1)!).toBeLessThan(100)
  for (const [i, { tokens }] of documents.entries()) {
    expect(await codec.text(tokens)).toBe(generateSample('dates', 'heldout', i, 1).text)
  }
})

describe('questions', () => {
  test('are different, of the split, and as many of each form as wanted', () => {
    const forms = questionsOf('arithmetic', HELDOUT, 25)
    expect([...forms.keys()].sort()).toEqual([
      'difference',
      'difference-question',
      'plain',
      'question',
      'worked',
      'worked-3',
    ])
    for (const questions of forms.values()) {
      expect(new Set(questions.map(({ prompt }) => prompt)).size).toBe(25)
      for (const { combinations } of questions) expect(splitOf(combinations[0])).toBe('heldout')
    }
  })

  test('of a form that has fewer are all that there are', async () => {
    const weekdays = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split(' ')
    const all = weekdays.flatMap((day) =>
      Array.from({ length: 98 }, (_, i) => i + 2)
        .filter((days) => splitOf(`weekday ${day} ${days}`) === 'heldout')
        .map((days) => `${day} + ${days} days:`),
    )
    const asked = questionsOf('dates', HELDOUT, 100)
    expect(all.length).toBeLessThan(100)
    expect(
      asked
        .get('weekday')!
        .map(({ prompt }) => prompt)
        .sort(),
    ).toEqual(all.sort())
    expect(asked.get('roman')).toHaveLength(100)
  })

  test.each(['story', 'german'] as const)('%s has none', async (domain) => {
    expect(questionsOf(domain, HELDOUT, 5).size).toBe(0)
  })
})

describe('openings', () => {
  test('are different first sentences and first lines', async () => {
    const stories = openingsOf('german', HELDOUT, 10)!
    expect([stories.form, new Set(stories.openings).size]).toEqual(['story', 10])
    for (const opening of stories.openings) expect(verifyText('german', opening)).toEqual([])
    const programs = openingsOf('code', HELDOUT, 10)!
    expect([programs.form, programs.openings.length]).toEqual(['program', 10])
    for (const opening of programs.openings) expect(opening).toMatch(/^function \w+\(\w+, \w+\) \{$/)
    expect(openingsOf('data', HELDOUT, 10)).toBeNull()
  })

  test('and questions are how the whole document begins, in tokens too', async () => {
    const codec = await projectCodec()
    const beginnings = DOMAINS.flatMap((domain) => [
      ...[...questionsOf(domain, HELDOUT, 10).values()].flat().map(({ prompt, text }) => [prompt, text]),
      ...(openingsOf(domain, HELDOUT, 5)?.openings ?? []).map((opening) => {
        const whole = Array.from(
          { length: 100 },
          (_, i) => generateSample(domain, 'heldout', i, 1).text,
        ).find((text) => text.startsWith(opening))!
        return [opening, whole]
      }),
    ])
    expect(beginnings.length).toBeGreaterThan(150)
    for (const [beginning, whole] of beginnings) {
      const tokens = await codec.prompt(beginning)
      expect((await codec.prompt(whole)).slice(0, tokens.length)).toEqual(tokens)
    }
  })
})
