import { describe, expect, test } from 'vitest'
import { generateSample, SPLITS } from '../../src/corpus/index.ts'

// The words are listed here again, so that an error in the generator's tables is found.
const WOMEN = 'Mia Anna Lena Nora Ella Clara Ida Emma'.split(' ')
const MEN = 'Tom Ben Paul Leo Emil Finn Anton Oskar'.split(' ')
type Gender = 'm' | 'f' | 'n'

function stories(domain: 'story' | 'german'): string[] {
  return SPLITS.flatMap((split) =>
    Array.from({ length: 500 }, (_, index) => generateSample(domain, split, index, 5).text),
  )
}

const word = (pattern: string, flags = 'u') => new RegExp(`(?<!\\p{L})(?:${pattern})(?!\\p{L})`, flags)

function heroOf(text: string): { name: string; gender: 'm' | 'f' } {
  const name = word([...WOMEN, ...MEN].join('|')).exec(text)![0]
  return { name, gender: WOMEN.includes(name) ? 'f' : 'm' }
}

/** The words of which none may occur. */
function expectNone(text: string, words: string) {
  expect(word(words, 'iu').exec(text)?.[0], text).toBeUndefined()
}

describe('English', () => {
  const texts = stories('story')

  test('is 60 to 170 words long, and seldom told twice', () => {
    for (const text of texts) {
      const count = text.split(' ').length
      expect(count, text).toBeGreaterThanOrEqual(60)
      expect(count, text).toBeLessThanOrEqual(170)
    }
    expect(new Set(texts).size).toBe(texts.length)
  })

  test('a stands before a consonant, an before a vowel', () => {
    for (const text of texts) {
      for (const [, article, next] of text.matchAll(/\b(an?) (\w+)/gi)) {
        const expected = /^([aeiou]|hour|honest)/.test(next) ? 'an' : 'a'
        expect(article.toLowerCase(), `${article} ${next} in: ${text}`).toBe(expected)
      }
    }
  })

  test('pronouns are those of the one who has them, the hero', () => {
    for (const text of texts) {
      const { gender } = heroOf(text)
      expectNone(text, gender === 'f' ? 'he|him|his|himself|boy' : 'she|her|hers|herself|girl')
      expect(text).toMatch(gender === 'f' ? /\bgirl\b/ : /\bboy\b/)
    }
  })

  test('hero and friend are two, and both stay in the story', () => {
    for (const text of texts) {
      const names = text.match(word([...WOMEN, ...MEN].join('|'), 'gu'))!
      expect(new Set(names).size, text).toBe(2)
    }
  })

  test('the trait told at the end is that of the beginning', () => {
    const traits = 'kind|brave|curious|clever|cheerful|patient|honest|strong'
    for (const text of texts) expect(new Set(text.match(word(traits, 'gu'))).size, text).toBe(1)
  })
})

const NOUNS: Readonly<Record<Gender, string>> = {
  m: 'Drachen Korb Becher Ball Hut Schlüssel Ring Wald Fluss Markt Garten Strand Park Bauernhof See Hügel Baum Hund Fuchs Käse Junge Mann Freund Großvater Vater Morgen Nachmittag Tag Tisch Felsen Busch Sack Stein Stock Haken Apfel Boden Mittag Abend Matsch Regen Sturm Regenbogen Mantel Hunger Weg Spaten Wind Preis Zettel Riss Name Augenblick Staub Turm Wagen Teich Geburtstag Schatz Sand',
  f: 'Laterne Trommel Flöte Puppe Tasche Glocke Brücke Wiese Burg Mühle Katze Ziege Wurst Frau Freundin Großmutter Mutter Eiche Bank Scheune Kirche Hütte Hand Idee Wurzel Elster Leiter Wahrheit Nacht Karte Schublade Stelle Stunde Truhe Suppe Milch Tür Geschichte Zeit Welt Sonne Freundschaft Fahne Sorge',
  n: 'Kästchen Buch Tuch Dorf Mädchen Boot Gras Tor Geschenk Loch Seil Nest Bett Kreuz Haus Lied Licht Brot Wettrennen Ziel Kind Stück Feuer Holz Lächeln Wasser Glas Stroh Tal Rad Wort Klettern Rennen',
}
const GENDERS = new Map(
  (['m', 'f', 'n'] as const).flatMap((gender) => NOUNS[gender].split(' ').map((noun) => [noun, gender])),
)
// the first noun after an adjective of things, for an old map is no thing
const THING =
  /(?:rot|blau|grün|gelb|weiß|klein|alt|neu)e[nrs]? (Drachen|Laterne|Trommel|Korb|Becher|Flöte|Puppe|Kästchen|Ball|Buch|Hut|Schlüssel|Tuch|Tasche|Glocke|Ring)/u
const PLURALS =
  'Bäumen Blumen Rosen Vögel Bienen Wellen Enten Hühner Kirchenglocken Bretter Arme Knie Äste'.split(' ')

/** Endings of the definite article's stem and of ein, sein, ihr; and the adjective's ending after each. */
const FORMS: Readonly<Record<Gender, Record<string, string>>> = {
  m: { der: 'e', den: 'en', dem: 'en', '-': 'er', '-en': 'en', '-em': 'en' },
  f: { die: 'e', der: 'en', '-e': 'e', '-er': 'en' },
  n: { das: 'e', dem: 'en', '-': 'es', '-em': 'en' },
}
const DATIVE = ['dem', 'der', '-em', '-er']
const ACCUSATIVE = ['den', 'die', 'das', '-en', '-e', '-']

interface NounPhrase {
  before: string
  /** The article, with ein, sein and ihr cut off: `-en` for einen. */
  article: string
  adjective?: string
  noun: string
}

function nounPhrases(text: string): NounPhrase[] {
  const article = '[Dd](?:er|ie|as|en|em)|(?:[Kk]?[Ee]in|[Ss]ein|[Ii]hr)(?:e[nmrs]?)?'
  // after the pronoun ihr ("gab ihr ein Stück") another phrase begins
  const inner = `(?!(?:${article}|etwas|drei) )`
  const pattern = new RegExp(
    String.raw`(?:(\p{L}+) )?(?<!\p{L})(${article}) (?:${inner}(\p{Ll}+) )?${inner}(\p{Lu}\p{Ll}+)`,
    'gu',
  )
  return [...text.matchAll(pattern)].map(([, before = '', found, adjective, noun]) => {
    const short = found.toLowerCase().replace(/^(k?ein|sein|ihr)/, '-')
    return { before: before.toLowerCase(), article: short, adjective, noun }
  })
}

describe('German', () => {
  const texts = stories('german')
  const names = [...WOMEN, ...MEN]

  test('article, adjective and noun agree', () => {
    let checked = 0
    for (const text of texts) {
      for (const { article, adjective, noun } of nounPhrases(text)) {
        if (PLURALS.includes(noun) || names.includes(noun)) continue
        const gender = GENDERS.get(noun)
        expect(gender, `unknown noun ${noun} in: ${text}`).toBeDefined()
        const ending = FORMS[gender as Gender][article]
        expect(ending, `${article} ${noun} in: ${text}`).toBeDefined()
        if (adjective)
          expect(adjective.endsWith(ending), `${article} ${adjective} ${noun} in: ${text}`).toBe(true)
        checked++
      }
    }
    expect(checked).toBeGreaterThan(12 * texts.length)
  })

  test('prepositions have their case', () => {
    for (const text of texts) {
      for (const { before, article, noun } of nounPhrases(text)) {
        if (PLURALS.includes(noun)) continue
        const where = `${before} ${article} ${noun} in: ${text}`
        if (['mit', 'von', 'bei', 'aus', 'zu', 'nach'].includes(before))
          expect(DATIVE, where).toContain(article)
        if (['durch', 'für', 'ohne'].includes(before)) expect(ACCUSATIVE, where).toContain(article)
      }
    }
  })

  test('pronouns and possessives are those of the hero, or of the thing and the animal', () => {
    for (const text of texts) {
      const { gender } = heroOf(text)
      const thing = GENDERS.get(THING.exec(text)![1])
      const animal = /Katze|Ziege/.test(text) ? 'f' : /Hund|Fuchs/.test(text) ? 'm' : undefined
      const isMasculine = thing === 'm' ? '' : '|er|ihn'
      if (gender === 'f')
        expectNone(text, `sein|seine|seinen|seinem|seiner${isMasculine}${animal === 'm' ? '' : '|ihm'}|Junge`)
      else expectNone(text, `ihre|ihren|ihrem|ihrer${animal === 'f' ? '' : '|ihr'}|Mädchen`)
    }
  })

  test('girls are Mädchen, boys Jungen, and friends have their own gender', () => {
    for (const text of texts) {
      const { gender } = heroOf(text)
      expect(text).toMatch(gender === 'f' ? /ein (\p{Ll}+es) Mädchen/u : /ein (\p{Ll}+er) Junge/u)
      const friend = /(Freundin|Freund) (?:hieß|namens) (\p{L}+)/u.exec(text)!
      expect(friend[1] === 'Freundin', text).toBe(WOMEN.includes(friend[2]))
    }
  })

  test('is 60 to 190 words long', () => {
    for (const text of texts) {
      const count = text.split(' ').length
      expect(count, text).toBeGreaterThanOrEqual(60)
      expect(count, text).toBeLessThanOrEqual(190)
    }
  })
})
