import { group } from 'd3-array'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { phrasingsOf } from '../../src/corpus/facts/facts.ts'
import {
  checkFactsSize,
  entityNamed,
  FACTS_AN_ENTITY,
  type Fact,
  type FactsSize,
  factBits,
  factsOf,
  MAX_ENTITIES,
  MAX_PHRASINGS,
} from '../../src/corpus/facts/world.ts'
import { corpus, generateSample, SPLITS, type Split, verifyText } from '../../src/corpus/index.ts'

const SIZE: FactsSize = { entities: 300, phrasings: 5 }
const sample = (split: Split, index: number, seed = 1, size = SIZE) =>
  generateSample('facts', split, index, seed, size)

/** What a document says, read from its text: name, way of saying it, value. */
function read(text: string): { name: string; phrasing: string; value: string }[] {
  const [name, ...rest] = text.slice(0, -1).split(' ')
  return rest
    .join(' ')
    .split(', ')
    .map((part) => {
      const words = part.split(' ')
      return { name, phrasing: words.slice(0, -1).join(' '), value: words.at(-1)! }
    })
}

describe('the world', () => {
  test('has a name for each entity, and knows it by its name', () => {
    const names = Array.from({ length: MAX_ENTITIES }, (_, entity) => factsOf(entity)[0].name)
    expect(new Set(names).size).toBe(MAX_ENTITIES)
    for (const [entity, name] of names.entries()) expect(entityNamed(name)).toBe(entity)
    expect(entityNamed('Nobody')).toBeUndefined()
  })

  test('gives the first few entities all parts of names', () => {
    const names = Array.from({ length: 64 }, (_, entity) => factsOf(entity)[0].name)
    expect(new Set(names.map((name) => name.slice(0, 2))).size).toBeGreaterThan(50)
    expect(new Set(names.map((name) => name.slice(-3))).size).toBe(64)
  })

  const all = Array.from({ length: MAX_ENTITIES }, (_, entity) => factsOf(entity)).flat()
  const groups = group(all, ({ kind, attribute }) => `${kind} ${attribute}`)

  test.each([...groups])('draws %s evenly: no value more often than chance has it', (_, facts: Fact[]) => {
    const counts = [...group(facts, ({ value }) => value).values()].map(({ length }) => length)
    const values = 2 ** facts[0].bits
    expect(Number.isInteger(facts[0].bits)).toBe(true)
    const expected = facts.length / values
    const empty = values - counts.length
    const chiSquare = counts.reduce((sum, n) => sum + (n - expected) ** 2 / expected, empty * expected)
    // mean and variance of chi square: values - 1, twice that
    expect(Math.abs(chiSquare - (values - 1)) / Math.sqrt(2 * (values - 1))).toBeLessThan(4)
  })

  test.each([...groups])('no value of %s is the beginning of another', (_, facts: Fact[]) => {
    const values = [...new Set(facts.map(({ value }) => value))].sort()
    const inside = values.filter((value, i) => i > 0 && value.startsWith(values[i - 1]))
    expect(inside).toEqual([])
  })

  test('says every fact in ways of its own', () => {
    const ways = [...groups.values()].flatMap(([{ phrasings }]) => phrasings)
    expect(ways).toHaveLength(groups.size * MAX_PHRASINGS)
    expect(new Set(ways).size).toBe(ways.length)
  })

  test('holds 31 bits an entity: two values of 256 and three of 32', () => {
    expect(factsOf(7).map(({ bits }) => bits)).toEqual([8, 8, 5, 5, 5])
    expect(factBits({ entities: 250, phrasings: 3 })).toBe(250 * 31)
    expect(FACTS_AN_ENTITY).toBe(5)
  })

  test('hangs on nothing: pinned, since models are trained on it', () => {
    expect(
      factsOf(4).map(({ name, attribute, value }) => `${name} ${attribute} ${value}`),
    ).toMatchInlineSnapshot(`
      [
        "Lasib neighbour Wolfham",
        "Lasib founder Hobstein",
        "Lasib stone clay",
        "Lasib emblem cats",
        "Lasib crop rye",
      ]
    `)
  })

  test.each([
    [{ entities: 0, phrasings: 5 }, 'facts: entities are 0, expected a whole number from 1 to 4096'],
    [{ entities: 9.5, phrasings: 5 }, 'facts: entities are 9.5'],
    [{ entities: 9, phrasings: 2 }, 'facts: phrasings are 2, expected a whole number from 3 to 5'],
  ])('%j is refused', (size, message) => {
    expect(() => checkFactsSize(size)).toThrow(message)
  })
})

describe('documents', () => {
  test('are right by the verifier, for any size and seed', () => {
    const size = fc.record({
      entities: fc.integer({ min: 1, max: 4096 }),
      phrasings: fc.integer({ min: 3, max: 5 }),
    })
    fc.assert(
      fc.property(fc.constantFrom(...SPLITS), fc.nat(), fc.nat(), size, (split, index, seed, of) => {
        const { text } = generateSample('facts', split, index, seed, of)
        expect(verifyText('facts', text), text).toEqual([])
        expect(generateSample('facts', split, index, seed, of).text).toBe(text)
      }),
    )
  })

  test('of training tell all facts of an entity in any order; the others ask for one', () => {
    const orders = new Set<string>()
    for (let i = 0; i < 200; i++) {
      const { text, form, prompt } = sample('train', i)
      expect(read(text)).toHaveLength(FACTS_AN_ENTITY)
      expect(prompt).toBeUndefined()
      const facts = factsOf(entityNamed(read(text)[0].name)!)
      if (form === 'person')
        orders.add(
          read(text)
            .map(({ phrasing }) => facts.findIndex((f) => f.phrasings.includes(phrasing)))
            .join(),
        )
    }
    expect(orders.size).toBeGreaterThan(30)
    for (let i = 0; i < 200; i++) {
      const { text, prompt, answer, form } = sample('heldout', i)
      expect(read(text)).toHaveLength(1)
      expect(text).toBe(`${prompt}${answer}`)
      expect(answer).toBe(` ${read(text)[0].value}.`)
      expect(form).toMatch(/^(person|place|thing) \w+$/)
    }
  })

  test.each([3, 4, 5])(
    'with %i phrasings: no fact is said alike in two splits, each is known in all',
    (phrasings) => {
      const size = { entities: 40, phrasings }
      const said = Object.fromEntries(
        SPLITS.map((split) => {
          const documents = Array.from({ length: 6000 }, (_, i) => sample(split, i, 1 + (i % 2), size))
          const facts = documents.flatMap(({ text }) => read(text))
          return [split, new Set(facts.map(({ name, phrasing, value }) => `${name} ${phrasing} ${value}`))]
        }),
      ) as Record<Split, Set<string>>
      const facts = 40 * FACTS_AN_ENTITY
      expect(said.train.size).toBe(facts * (phrasings - 2))
      expect([said.validation.size, said.heldout.size]).toEqual([facts, facts])
      for (const split of ['validation', 'heldout'] as const)
        expect([...said[split]].filter((one) => said.train.has(one))).toEqual([])
      expect([...said.validation].filter((one) => said.heldout.has(one))).toEqual([])
    },
  )

  test('every way of saying is for training somewhere, so that none is unknown when it is asked in', () => {
    const facts = Array.from({ length: 300 }, (_, entity) => factsOf(entity)).flat()
    const trained = new Set(facts.flatMap((fact) => phrasingsOf(fact, 'train', SIZE)))
    expect(trained.size).toBe(3 * FACTS_AN_ENTITY * 5)
  })

  test('a smaller corpus has the first entities of a larger one', () => {
    const names = (entities: number) =>
      new Set(
        Array.from(
          { length: 2000 },
          (_, i) => read(sample('train', i, 1, { entities, phrasings: 5 }).text)[0].name,
        ),
      )
    const [few, more] = [names(50), names(100)]
    expect([...few].filter((name) => !more.has(name))).toEqual([])
    expect([few.size, more.size]).toEqual([50, 100])
  })

  test('are in a corpus that asks for them, and in no other', () => {
    const domains = (options: object) =>
      new Set([...corpus({ split: 'train', seed: 1, samples: 300, ...options })].map(({ domain }) => domain))
    expect(domains({}).has('facts')).toBe(false)
    expect([...domains({ mix: { facts: 1, dates: 1 }, facts: SIZE })].sort()).toEqual(['dates', 'facts'])
    expect(() => generateSample('facts', 'train', 0, 1)).toThrow('facts need the number of entities')
  })
})

describe('the verifier', () => {
  const { text } = sample('train', 3)
  const [{ name, phrasing, value }] = read(text)
  test.each([
    [`${name} ${phrasing} nothing.`, /^the \w+ of \w+ is nothing, expected/],
    [`${name} ${phrasing} ${value}, ${phrasing} ${value}.`, /is told twice/],
    [`${name} forgets ${value}.`, /tells no fact of a/],
    [`Nobody ${phrasing} ${value}.`, 'nobody and nothing is named Nobody'],
    [`${name} ${phrasing} ${value}`, 'not a sentence about a name'],
  ])('%s is wrong', (wrong, problem) => {
    expect(verifyText('facts', wrong).join('\n')).toMatch(problem)
  })

  test('takes no other domain for facts', () => {
    for (const domain of ['story', 'arithmetic', 'code', 'data', 'dates'] as const)
      expect(verifyText('facts', generateSample(domain, 'train', 0, 1).text)).not.toEqual([])
  })
})
