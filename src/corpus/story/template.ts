import type { Random } from '../random.ts'

/** Words to put in for `$name`. */
export type Slots = Readonly<Record<string, string>>

/**
 * A sentence from a template: `{a|b}` is one of the alternatives, `$slot` a word of the story; the first letter
 * becomes a capital. `$slot` may stand inside an alternative.
 */
function sentence(template: string, slots: Slots, random: Random): string {
  const chosen = template.replace(/\{([^{}]*)\}/g, (_, options: string) => random.pick(options.split('|')))
  const filled = chosen.replace(/\$([a-z_]+)/g, (_, name: string) => {
    const word = slots[name]
    if (word === undefined) throw new Error(`template "${template}" has no slot $${name}`)
    return word
  })
  return filled.replace(/(^|[.!?] )(["„]?)(\p{Ll})/gu, (_, start, quote, letter: string) => {
    return start + quote + letter.toUpperCase()
  })
}

/** A story from its templates in order; one that begins with `?` is told half of the time. */
export function tellInOrder(templates: readonly string[], slots: Slots, random: Random): string {
  const told = templates.filter((template) => !template.startsWith('?') || random.chance(0.5))
  return told.map((template) => sentence(template.replace(/^\?/, ''), slots, random)).join(' ')
}
