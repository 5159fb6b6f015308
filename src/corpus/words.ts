import { createRequire } from 'node:module'

/** What the generators of single lines and programs draw from. */
interface Words {
  code: {
    nouns: string[]
    lists: string[]
    /** Names of the parameter beside the list. */
    limits: string[]
    comparisons: string[]
    /** Each verb with the lines of its body; what `$slots` mean, `code` says. */
    programs: Record<string, string[]>
  }
  items: string[]
  weekdays: string[]
  /** With their days in a common year. */
  months: [name: string, days: number][]
}

export const WORDS: Words = createRequire(import.meta.url)('./words.json')
