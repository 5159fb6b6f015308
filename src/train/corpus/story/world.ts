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

export const TRAITS = [
  { en: 'kind', de: 'freundlich' },
  { en: 'brave', de: 'mutig' },
  { en: 'curious', de: 'neugierig' },
  { en: 'clever', de: 'klug' },
  { en: 'cheerful', de: 'fröhlich' },
  { en: 'patient', de: 'geduldig' },
  { en: 'honest', de: 'ehrlich' },
  { en: 'strong', de: 'stark' },
] as const

export interface Place extends Noun {
  /** Where one is, and where one goes. */
  at: { en: string; de: string }
  to: { en: string; de: string }
  /** A spot there where things lie hidden. */
  spot: { en: string; de: string }
}

function place(
  what: Noun,
  at: string,
  to: string,
  am: string,
  zum: string,
  spot: string,
  spotDe: string,
): Place {
  return { ...what, at: { en: at, de: am }, to: { en: to, de: zum }, spot: { en: spot, de: spotDe } }
}

export const PLACES: readonly Place[] = [
  place(
    noun('forest', 'Wald', 'm'),
    'in the forest',
    'into the forest',
    'im Wald',
    'in den Wald',
    'under an oak tree',
    'unter einer Eiche',
  ),
  place(
    noun('river', 'Fluss', 'm'),
    'by the river',
    'to the river',
    'am Fluss',
    'zum Fluss',
    'between two stones',
    'zwischen zwei Steinen',
  ),
  place(
    noun('market', 'Markt', 'm'),
    'at the market',
    'to the market',
    'auf dem Markt',
    'auf den Markt',
    'under a table',
    'unter einem Tisch',
  ),
  place(
    noun('garden', 'Garten', 'm'),
    'in the garden',
    'into the garden',
    'im Garten',
    'in den Garten',
    'behind the roses',
    'hinter den Rosen',
  ),
  place(
    noun('beach', 'Strand', 'm'),
    'on the beach',
    'to the beach',
    'am Strand',
    'an den Strand',
    'behind a rock',
    'hinter einem Felsen',
  ),
  place(
    noun('park', 'Park', 'm'),
    'in the park',
    'to the park',
    'im Park',
    'in den Park',
    'under a bench',
    'unter einer Bank',
  ),
  place(
    noun('farm', 'Bauernhof', 'm'),
    'on the farm',
    'to the farm',
    'auf dem Bauernhof',
    'auf den Bauernhof',
    'behind the barn',
    'hinter der Scheune',
  ),
  place(
    noun('lake', 'See', 'm'),
    'by the lake',
    'to the lake',
    'am See',
    'zum See',
    'beside an old boat',
    'neben einem alten Boot',
  ),
  place(
    noun('hill', 'Hügel', 'm'),
    'on the hill',
    'up the hill',
    'auf dem Hügel',
    'auf den Hügel',
    'in the tall grass',
    'im hohen Gras',
  ),
  place(
    noun('village', 'Dorf', 'n'),
    'in the village',
    'to the village',
    'im Dorf',
    'ins Dorf',
    'behind the church',
    'hinter der Kirche',
  ),
  place(
    noun('bridge', 'Brücke', 'f'),
    'by the bridge',
    'to the bridge',
    'an der Brücke',
    'zur Brücke',
    'under a bush',
    'unter einem Busch',
  ),
  place(
    noun('meadow', 'Wiese', 'f'),
    'in the meadow',
    'to the meadow',
    'auf der Wiese',
    'auf die Wiese',
    'among the flowers',
    'zwischen den Blumen',
  ),
  place(
    noun('castle', 'Burg', 'f'),
    'at the castle',
    'to the castle',
    'bei der Burg',
    'zur Burg',
    'beside the gate',
    'neben dem Tor',
  ),
  place(
    noun('mill', 'Mühle', 'f'),
    'at the mill',
    'to the mill',
    'bei der Mühle',
    'zur Mühle',
    'behind a sack',
    'hinter einem Sack',
  ),
]

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

/** What happens; both languages tell the same plots. */
export const PLOTS = [
  'lost',
  'found',
  'gift',
  'share',
  'storm',
  'animal',
  'hole',
  'magpie',
  'broken',
  'map',
  'grandmother',
  'race',
] as const
export type Plot = (typeof PLOTS)[number]
