import { createRequire } from 'node:module'

/** What the generators of single lines and programs draw from; what `$slots` of a program's lines mean, `code` says. */
export const WORDS: typeof import('./words.json') = createRequire(import.meta.url)('./words.json')
