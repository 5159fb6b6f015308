import { createRequire } from 'node:module'
import type { Random } from '../random.ts'
import { filled, type Slots } from '../template.ts'

const require = createRequire(import.meta.url)

/**
 * How a language tells the stories of `world.json`: openings, friends, the sentences of each plot in order, closings. In a template
 * `{a|b}` is one of the alternatives, `$slot` a word of the story (also inside an alternative), `$day` the language's own; one that
 * begins with `?` is told half of the time. Only the hero gets pronouns, so that a reader can always tell who is meant.
 */
type Language = typeof import('./english.json') & { plots: Record<string, string[]> }

/** A story of the plot in a language, which names the file beside this one. */
export function tell(language: 'english' | 'german', plot: string, slots: Slots, random: Random): string {
  const { day, openings, friends, closings, plots }: Language = require(`./${language}.json`)
  const templates = [random.pick(openings), random.pick(friends), ...plots[plot], random.pick(closings)]
  return templates
    .filter((template) => !template.startsWith('?') || random.chance(0.5))
    .map((template) => sentence(template.replace(/^\?/, '').replace('$day', day), slots, random))
    .join(' ')
}

/** The first letter of a sentence becomes a capital. */
function sentence(template: string, slots: Slots, random: Random): string {
  const chosen = template.replace(/\{([^{}]*)\}/g, (_, options: string) => random.pick(options.split('|')))
  return filled(chosen, slots).replace(/(^|[.!?] )(["„]?)(\p{Ll})/gu, (_, start, quote, letter: string) => {
    return start + quote + letter.toUpperCase()
  })
}
