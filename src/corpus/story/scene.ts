import { createRequire } from 'node:module'
import type { Random } from '../random.ts'
import { drawIn } from '../split.ts'
import type { Split } from '../types.ts'

/** A word, phrase or sentence in both languages. */
interface Phrase {
  en: string
  de: string
}

/** Grammatical gender: of a person in English, of every noun in German. */
export type Gender = 'm' | 'f' | 'n'

export interface Noun extends Phrase {
  gender: Gender
}

export interface Person {
  name: string
  gender: 'm' | 'f'
}

interface Place extends Noun {
  /** Where one is, and where one goes. */
  at: Phrase
  to: Phrase
  /** A spot there where things lie hidden. */
  spot: Phrase
  /** A sentence about what is seen or heard there. */
  detail: Phrase
}

/** What stories are made of. No name ends in s, x or z, so that a German genitive never needs an apostrophe. */
interface World {
  people: Person[]
  places: Place[]
  /** Some can fall and break, and be mended. */
  things: (Noun & { breakable: boolean })[]
  /** Adjectives of things; the German ones take regular endings. */
  looks: Phrase[]
  /** Of a hero, by the English word the German one. */
  traits: Record<string, string>
  animals: Noun[]
  foods: Noun[]
  /** What happens, and the traits of a hero to whom it could happen; both languages tell the same plots. */
  plots: Record<string, string[]>
}

const WORLD: World = createRequire(import.meta.url)('./world.json')

/** Who, where, with what, and what happens: decided before a language tells it. */
export interface Scene {
  hero: Person
  friend: Person
  trait: Phrase
  place: Place
  thing: Noun
  look: Phrase
  animal: Noun
  food: Noun
  elder: Person['gender']
  plot: string
}

/** A scene whose (character, place, object, plot) belongs to the split; both languages share the assignment. */
export function drawScene(random: Random, split: Split): Scene {
  return drawIn(random, split, draw, sceneKey)
}

export function sceneKey({ hero, place, thing, plot }: Scene): string {
  return `story ${hero.name} ${place.en} ${thing.en} ${plot}`
}

function draw(random: Random): Scene {
  const { people, places, things, looks, traits, animals, foods, plots } = WORLD
  const hero = random.pick(people)
  const plot = random.pick(Object.keys(plots))
  const friend = random.pick(people.filter((person) => person !== hero))
  const trait = random.pick(plots[plot])
  return {
    hero,
    friend,
    trait: { en: trait, de: traits[trait] },
    place: random.pick(places),
    thing: random.pick(plot === 'broken' ? things.filter(({ breakable }) => breakable) : things),
    look: random.pick(looks),
    animal: random.pick(animals),
    food: random.pick(foods),
    elder: random.pick(['m', 'f'] as const),
    plot,
  }
}
