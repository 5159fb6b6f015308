import { beforeAll, describe, expect, test } from 'vitest'
import { DOMAINS, generateSample } from '../../src/corpus/index.ts'
import { startRuntime } from '../../src/device/index.ts'
import { byDomainAndForm, headlineOf, quizzesOf, runQuiz, runQuizzes } from '../../src/eval/answers.ts'
import { proportion } from '../../src/eval/proportion.ts'
import { END, heldoutDocuments, oracle, projectCodec, TEXT_CONFIG } from './oracle.ts'

const HELDOUT = { split: 'heldout', seed: 1 } as const

beforeAll(async () => {
  await startRuntime({ device: 'js' })
})

describe('a model that knows the documents by heart', () => {
  test('has every answer and every text right', async () => {
    const codec = await projectCodec()
    const quizzes = await quizzesOf(codec, TEXT_CONFIG, DOMAINS, HELDOUT, 2)
    const results = await runQuizzes(oracle(await heldoutDocuments(codec, 200)), codec, quizzes)
    const answers = byDomainAndForm(results, 'answer')
    const texts = byDomainAndForm(results, 'text')
    expect(Object.keys(answers)).toEqual(['arithmetic', 'code', 'data', 'dates'])
    expect(Object.fromEntries(Object.entries(texts).map(([d, forms]) => [d, Object.keys(forms)]))).toEqual({
      story: ['story'],
      code: ['program'],
      german: ['story'],
    })
    expect(Object.keys(answers.dates!)).toHaveLength(7)
    for (const forms of Object.values(answers)) {
      for (const result of Object.values(forms)) expect(result).toEqual(proportion(2, 2))
    }
    for (const forms of Object.values(texts)) {
      for (const result of Object.values(forms)) expect(result).toEqual(proportion(1, 1))
    }
    const pooledSums = headlineOf(answers)!
    expect(pooledSums.worked).toEqual({ ...proportion(4, 4), forms: ['worked', 'question'] })
    expect(pooledSums.plain).toEqual({ ...proportion(2, 2), forms: ['plain'] })
  })

  test('but takes one digit for another, has no sum right that shows it', async () => {
    const codec = await projectCodec()
    const [one] = (await codec.prompt('1')).slice(1)
    const [two] = (await codec.prompt('2')).slice(1)
    const documents = await Promise.all(
      Array.from({ length: 400 }, async (_, i) => {
        return (await codec.document('arithmetic', generateSample('arithmetic', 'heldout', i, 1).text)).tokens
      }),
    )
    const confused = oracle(documents, (token) => (token === one ? two : token))
    const quizzes = await quizzesOf(codec, TEXT_CONFIG, ['arithmetic'], HELDOUT, 12)
    const plain = quizzes.find((q) => q.form === 'plain')!
    const { correct, total } = await runQuiz(confused, codec, plain)
    const sums = await Promise.all(
      [...Array(199).keys()].map(async (sum) => (await codec.prompt(String(sum))).slice(1)),
    )
    const answers = await Promise.all(
      plain.items.map(async ({ isRight }, i) => {
        const answer = (await Promise.all(sums.map((sum) => isRight(sum)))).indexOf(true)
        expect(answer, `question ${i}`).toBeGreaterThanOrEqual(0)
        return String(answer)
      }),
    )
    const without = answers.filter((answer) => !answer.includes('1'))
    expect(total).toBe(12)
    expect(correct).toBe(without.length)
    expect(without.length).toBeGreaterThan(0)
  })

  test('but writes no text, or does not end it, has none right', async () => {
    const codec = await projectCodec()
    const [story] = await quizzesOf(codec, TEXT_CONFIG, ['story'], HELDOUT, 4)
    const silent = oracle([])
    expect(await runQuiz(silent, codec, story)).toEqual(proportion(0, 1))
    const [{ prompt, isRight }] = story.items
    const whole = (await heldoutDocuments(codec, 1))[0].slice(prompt.length)
    expect(await isRight(whole)).toBe(true)
    expect(await isRight(whole.slice(0, -1))).toBe(false)
    expect(await isRight([...whole.slice(0, -2), END])).toBe(false) // the full stop is missing
  })
})

test('a question too long for the model is left out and counted', async () => {
  const codec = await projectCodec()
  const roomy = await quizzesOf(codec, TEXT_CONFIG, ['data'], HELDOUT, 5)
  const narrow = await quizzesOf(codec, { ...TEXT_CONFIG, maxPositionEmbeddings: 60 }, ['data'], HELDOUT, 5)
  expect(roomy.map(({ items, leftOut }) => [items.length, leftOut])).toEqual(new Array(4).fill([5, 0]))
  const json = narrow.find(({ form }) => form === 'json')!
  expect(json.items.length + json.leftOut).toBe(5)
  expect(json.leftOut).toBeGreaterThan(0)
  for (const { items } of narrow) {
    for (const { prompt, limit } of items) expect(prompt.length + limit).toBeLessThanOrEqual(60)
  }
})

test('no sums, no headline', () => {
  expect(headlineOf({ dates: { roman: proportion(1, 2) } })).toBeNull()
  expect(headlineOf({ arithmetic: { worked: proportion(1, 2) } })).toEqual({
    worked: { ...proportion(1, 2), forms: ['worked'] },
    plain: { ...proportion(0, 0), forms: [] },
  })
})
