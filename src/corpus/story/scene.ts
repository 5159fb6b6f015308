import type { Random } from '../random.ts'
import { drawIn } from '../split.ts'
import type { Split } from '../types.ts'
import { PLACES, type Place } from './places.ts'
import {
  ANIMALS,
  FOODS,
  LOOKS,
  type Noun,
  PEOPLE,
  type Person,
  PLOTS,
  type Plot,
  THINGS,
  type Thing,
  type Trait,
} from './world.ts'

const PLOT_NAMES = Object.keys(PLOTS) as Plot[]

/** Who, where, with what, and what happens: decided before a language tells it. */
export interface Scene {
  hero: Person
  friend: Person
  trait: Trait
  place: Place
  thing: Thing
  look: (typeof LOOKS)[number]
  animal: Noun
  food: Noun
  elder: Person['gender']
  plot: Plot
}

/** A scene whose (character, place, object, plot) belongs to the split; both languages share the assignment. */
export function drawScene(random: Random, split: Split): Scene {
  return drawIn(random, split, draw, sceneKey)
}

export function sceneKey({ hero, place, thing, plot }: Scene): string {
  return `story ${hero.name} ${place.en} ${thing.en} ${plot}`
}

function draw(random: Random): Scene {
  const hero = random.pick(PEOPLE)
  const plot = random.pick(PLOT_NAMES)
  return {
    hero,
    friend: random.pick(PEOPLE.filter((person) => person !== hero)),
    trait: random.pick<Trait>(PLOTS[plot]),
    place: random.pick(PLACES),
    thing: random.pick(plot === 'broken' ? THINGS.filter((thing) => thing.breakable) : THINGS),
    look: random.pick(LOOKS),
    animal: random.pick(ANIMALS),
    food: random.pick(FOODS),
    elder: random.pick(['m', 'f'] as const),
    plot,
  }
}
