import type { Gender } from './world.ts'

export type Case = 'nominative' | 'accusative' | 'dative'
/** `der` is the definite article, `ein` the indefinite, `mein` stands for every possessive. */
export type Determiner = 'der' | 'ein' | 'mein'

const DEFINITE: Readonly<Record<Case, Record<Gender, string>>> = {
  nominative: { m: 'der', f: 'die', n: 'das' },
  accusative: { m: 'den', f: 'die', n: 'das' },
  dative: { m: 'dem', f: 'der', n: 'dem' },
}

/** Endings of ein, mein, sein, ihr; an adjective after an empty one shows the gender itself. */
const ENDINGS: Readonly<Record<Case, Record<Gender, string>>> = {
  nominative: { m: '', f: 'e', n: '' },
  accusative: { m: 'en', f: 'e', n: '' },
  dative: { m: 'em', f: 'er', n: 'em' },
}

const STRONG: Readonly<Record<Gender, string>> = { m: 'er', f: 'e', n: 'es' }

const PRONOUNS: Readonly<Record<Case, Record<Gender, string>>> = {
  nominative: { m: 'er', f: 'sie', n: 'es' },
  accusative: { m: 'ihn', f: 'sie', n: 'es' },
  dative: { m: 'ihm', f: 'ihr', n: 'ihm' },
}

export function pronoun(gender: Gender, grammaticalCase: Case): string {
  return PRONOUNS[grammaticalCase][gender]
}

/** The possessive of a person: his is sein, her is ihr. */
export function possessive(owner: 'm' | 'f', gender: Gender, grammaticalCase: Case): string {
  return (owner === 'f' ? 'ihr' : 'sein') + ENDINGS[grammaticalCase][gender]
}

export function definite(gender: Gender, grammaticalCase: Case): string {
  return DEFINITE[grammaticalCase][gender]
}

export function indefinite(gender: Gender, grammaticalCase: Case): string {
  return `ein${ENDINGS[grammaticalCase][gender]}`
}

/** An adjective before a singular noun, after a determiner. */
export function inflect(adjective: string, after: Determiner, gender: Gender, grammaticalCase: Case): string {
  if (grammaticalCase === 'dative' || (grammaticalCase === 'accusative' && gender === 'm'))
    return `${adjective}en`
  return adjective + (after === 'der' ? 'e' : STRONG[gender])
}
