import { createRequire } from 'node:module'
import type { Random } from '../random.ts'
import { drawIn } from '../split.ts'
import type { Split } from '../types.ts'

/*
 * What stories are made of, in both languages. `gender` is that of a person in English, of every noun in German. Of a place: where
 * one is (`at`), where one goes (`to`), a spot there where things lie hidden, a sentence about what is seen or heard. A thing that
 * is breakable can fall and be mended. German adjectives (`looks`, `traits`) take regular endings. `plots` are what happens, with
 * the traits of a hero to whom it could. No name ends in s, x or z, so that a German genitive never needs an apostrophe.
 */
const { people, places, things, looks, animals, foods, ...world }: typeof import('./world.json') =
  createRequire(import.meta.url)('./world.json')
const plots: Readonly<Record<string, string[]>> = world.plots
const traits: Readonly<Record<string, string>> = world.traits

/** Who, where, with what, and what happens: decided before a language tells it. */
export type Scene = ReturnType<typeof draw>

/** A scene whose (character, place, object, plot) belongs to the split; both languages share the assignment. */
export function drawScene(random: Random, split: Split): Scene {
  return drawIn(random, split, draw, sceneKey)
}

export function sceneKey({ hero, place, thing, plot }: Scene): string {
  return `story ${hero.name} ${place.en} ${thing.en} ${plot}`
}

function draw(random: Random) {
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
    /** Of an old man or woman. */
    elder: random.pick(['m', 'f']),
    plot,
  }
}
