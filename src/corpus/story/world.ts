/** Grammatical gender: of a person in English, of every noun in German. */
export type Gender = 'm' | 'f' | 'n'

export interface Person {
  name: string
  gender: 'm' | 'f'
}

/** None ends in s, x or z, so that a German genitive never needs an apostrophe. */
export const PEOPLE: readonly Person[] = [
  ...['Mia', 'Anna', 'Lena', 'Nora', 'Ella', 'Clara', 'Ida', 'Emma'].map(
    (name): Person => ({ name, gender: 'f' }),
  ),
  ...['Tom', 'Ben', 'Paul', 'Leo', 'Emil', 'Finn', 'Anton', 'Oskar'].map(
    (name): Person => ({ name, gender: 'm' }),
  ),
]

/** A noun in both languages. */
export interface Noun {
  en: string
  de: string
  gender: Gender
}

function noun(en: string, de: string, gender: Gender): Noun {
  return { en, de, gender }
}

export interface Thing extends Noun {
  /** It can fall and break, and be mended. */
  breakable: boolean
}

export const THINGS: readonly Thing[] = [
  ...[
    noun('kite', 'Drachen', 'm'),
    noun('lantern', 'Laterne', 'f'),
    noun('drum', 'Trommel', 'f'),
    noun('basket', 'Korb', 'm'),
    noun('cup', 'Becher', 'm'),
    noun('flute', 'Flöte', 'f'),
    noun('doll', 'Puppe', 'f'),
    noun('box', 'Kästchen', 'n'),
  ].map((item) => ({ ...item, breakable: true })),
  ...[
    noun('ball', 'Ball', 'm'),
    noun('book', 'Buch', 'n'),
    noun('hat', 'Hut', 'm'),
    noun('key', 'Schlüssel', 'm'),
    noun('scarf', 'Tuch', 'n'),
    noun('bag', 'Tasche', 'f'),
    noun('bell', 'Glocke', 'f'),
    noun('ring', 'Ring', 'm'),
  ].map((item) => ({ ...item, breakable: false })),
]

/** Adjectives of things; the German ones take regular endings. */
export const LOOKS = [
  { en: 'red', de: 'rot' },
  { en: 'blue', de: 'blau' },
  { en: 'green', de: 'grün' },
  { en: 'yellow', de: 'gelb' },
  { en: 'white', de: 'weiß' },
  { en: 'small', de: 'klein' },
  { en: 'old', de: 'alt' },
  { en: 'new', de: 'neu' },
] as const

export const TRAITS = {
  kind: 'freundlich',
  brave: 'mutig',
  curious: 'neugierig',
  clever: 'klug',
  cheerful: 'fröhlich',
  patient: 'geduldig',
  honest: 'ehrlich',
  strong: 'stark',
} as const
export type Trait = keyof typeof TRAITS

export const ANIMALS: readonly Noun[] = [
  noun('dog', 'Hund', 'm'),
  noun('cat', 'Katze', 'f'),
  noun('fox', 'Fuchs', 'm'),
  noun('goat', 'Ziege', 'f'),
]

export const FOODS: readonly Noun[] = [
  noun('bread', 'Brot', 'n'),
  noun('cheese', 'Käse', 'm'),
  noun('sausage', 'Wurst', 'f'),
]

/** What happens, and the traits of a hero to whom it could happen; both languages tell the same plots. */
export const PLOTS = {
  lost: ['cheerful', 'patient', 'curious'],
  found: ['honest', 'kind'],
  gift: ['kind', 'patient', 'strong'],
  share: ['cheerful', 'clever', 'kind'],
  storm: ['brave', 'strong'],
  animal: ['clever', 'patient'],
  hole: ['cheerful', 'curious'],
  magpie: ['brave', 'strong'],
  broken: ['honest', 'brave'],
  map: ['curious', 'clever'],
  grandmother: ['kind', 'brave', 'cheerful'],
  race: ['kind', 'strong'],
} as const satisfies Record<string, readonly Trait[]>
export type Plot = keyof typeof PLOTS
