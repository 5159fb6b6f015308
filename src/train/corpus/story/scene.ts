import type { Random } from '../../random.ts'
import { drawIn } from '../split.ts'
import type { Split } from '../types.ts'
import {
  ANIMALS,
  FOODS,
  LOOKS,
  type Noun,
  PEOPLE,
  type Person,
  PLACES,
  PLOTS,
  type Place,
  type Plot,
  THINGS,
  type Thing,
  TRAITS,
} from './world.ts'

/** Who, where, with what, and what happens: decided before a language tells it. */
export interface Scene {
  hero: Person
  friend: Person
  trait: (typeof TRAITS)[number]
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
  const plot = random.pick(PLOTS)
  return {
    hero,
    friend: random.pick(PEOPLE.filter((person) => person !== hero)),
    trait: random.pick(TRAITS),
    place: random.pick(PLACES),
    thing: random.pick(plot === 'broken' ? THINGS.filter((thing) => thing.breakable) : THINGS),
    look: random.pick(LOOKS),
    animal: random.pick(ANIMALS),
    food: random.pick(FOODS),
    elder: random.pick(['m', 'f'] as const),
    plot,
  }
}
