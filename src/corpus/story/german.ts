import { createRequire } from 'node:module'
import type { Random } from '../random.ts'
import type { Scene } from './scene.ts'
import { tell } from './template.ts'

/**
 * The words before a noun and for it, by its gender, named by the masculine form; `sein` and its cases stand for every possessive. An
 * adjective's ending after `ein` and `sein`, which do not show the gender themselves, is a strong one.
 */
interface Grammar {
  determiners: Record<string, Record<string, string>>
  pronouns: Record<string, Record<string, string>>
  strongEndings: Record<string, string>
}
const { determiners, pronouns, strongEndings }: Grammar = createRequire(import.meta.url)('./german.json')

interface Words {
  de: string
  gender: string
  adjective?: string
}

/** Tells the scene in German. A slot is a word by itself, or a determiner (a pronoun) and a noun, such as `$den_ding`. */
export function germanStory(scene: Scene, random: Random): string {
  const { hero, friend, place, plot, food } = scene
  const nouns = nounsOf(scene, random.pick(['hungrig', 'frech', 'klein']))
  const slots: Record<string, string> = {
    x: hero.name,
    y: friend.name,
    trait: scene.trait.de,
    am: place.at.de,
    zum: place.to.de,
    spot: place.spot.de,
    detail: place.detail.de,
    vom_ort: place.gender === 'f' ? `von der ${place.de}` : `vom ${place.de}`,
    essen: food.de,
    seine: possessive('seine', hero.gender),
    seiner: possessive('seiner', hero.gender),
  }
  for (const [word, byGender] of Object.entries(pronouns)) {
    slots[word] = byGender[hero.gender]
    for (const [name, { gender }] of Object.entries(nouns)) slots[`${word}_${name}`] = byGender[gender]
  }
  for (const [word, byGender] of Object.entries(determiners)) {
    slots[word] ??= possessive(word, hero.gender)
    for (const [name, noun] of Object.entries(nouns)) {
      const before = possessive(byGender[noun.gender], hero.gender)
      slots[`${word}_${name}`] = [before, ...inflected(noun, word), noun.de].join(' ')
    }
  }
  return tell('german', plot, slots, random)
}

/** What slots may name, with an adjective where they have one. */
function nounsOf({ hero, friend, thing, look, place, trait, ...rest }: Scene, animalLook: string) {
  const girl = hero.gender === 'f'
  const friendOf = (gender: string) => (gender === 'f' ? 'Freundin' : 'Freund')
  return {
    kind: { de: girl ? 'Mädchen' : 'Junge', gender: girl ? 'n' : 'm', adjective: trait.de },
    alte: { de: rest.elder === 'f' ? 'Frau' : 'Mann', gender: rest.elder, adjective: 'alt' },
    bestfreund: { de: friendOf(friend.gender), gender: friend.gender, adjective: 'best' },
    gutfreund: { de: friendOf(friend.gender), gender: friend.gender, adjective: 'gut' },
    heldfreund: { de: friendOf(hero.gender), gender: hero.gender, adjective: 'best' },
    ding: thing,
    obj: { ...thing, adjective: look.de },
    ort: place,
    tier: rest.animal,
    neutier: { ...rest.animal, adjective: animalLook },
    essen: rest.food,
  } satisfies Record<string, Words>
}

/** His is sein, her is ihr; other words stay. */
function possessive(word: string, owner: string): string {
  return owner === 'f' ? word.replace(/^sein/, 'ihr') : word
}

/** The adjective, if there is one, before a singular noun and after a determiner. */
function inflected({ adjective, gender }: Words, after: string): string[] {
  if (adjective === undefined) return []
  const oblique = after.endsWith('em') || (gender === 'm' && after.endsWith('en'))
  const ending = after.startsWith('d') ? 'e' : strongEndings[gender]
  return [adjective + (oblique ? 'en' : ending)]
}
