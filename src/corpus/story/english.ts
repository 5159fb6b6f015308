import type { Random } from '../random.ts'
import type { Scene } from './scene.ts'
import { tell } from './template.ts'

/** Tells the scene in English. */
export function englishStory(scene: Scene, random: Random): string {
  const { hero, friend, thing, look, place, trait } = scene
  const female = hero.gender === 'f'
  const slots = {
    x: hero.name,
    y: friend.name,
    child: female ? 'girl' : 'boy',
    he: female ? 'she' : 'he',
    him: female ? 'her' : 'him',
    his: female ? 'her' : 'his',
    trait: trait.en,
    a_trait: withArticle(trait.en),
    thing: thing.en,
    obj: `${look.en} ${thing.en}`,
    a_obj: withArticle(`${look.en} ${thing.en}`),
    place: place.en,
    at: place.at.en,
    to: place.to.en,
    spot: place.spot.en,
    detail: place.detail.en,
    animal: scene.animal.en,
    food: scene.food.en,
    elder: scene.elder === 'f' ? 'woman' : 'man',
  }
  return tell('english', scene.plot, slots, random)
}

function withArticle(words: string): string {
  // 'honest' begins with a vowel sound
  return /^([aeiou]|honest)/.test(words) ? `an ${words}` : `a ${words}`
}
