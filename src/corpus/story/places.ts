import type { Noun } from './world.ts'

/** A phrase that German does not make word by word. */
interface Phrase {
  en: string
  de: string
}

export interface Place extends Noun {
  /** Where one is, and where one goes. */
  at: Phrase
  to: Phrase
  /** A spot there where things lie hidden. */
  spot: Phrase
  /** A sentence about what is seen or heard there. */
  detail: Phrase
}

export const PLACES: readonly Place[] = [
  {
    en: 'forest',
    de: 'Wald',
    gender: 'm',
    at: { en: 'in the forest', de: 'im Wald' },
    to: { en: 'into the forest', de: 'in den Wald' },
    spot: { en: 'under an oak tree', de: 'unter einer Eiche' },
    detail: { en: 'The birds were singing in the trees.', de: 'In den Bäumen sangen die Vögel.' },
  },
  {
    en: 'river',
    de: 'Fluss',
    gender: 'm',
    at: { en: 'by the river', de: 'am Fluss' },
    to: { en: 'to the river', de: 'zum Fluss' },
    spot: { en: 'between two stones', de: 'zwischen zwei Steinen' },
    detail: { en: 'The water was clear and cold.', de: 'Das Wasser war klar und kalt.' },
  },
  {
    en: 'market',
    de: 'Markt',
    gender: 'm',
    at: { en: 'at the market', de: 'auf dem Markt' },
    to: { en: 'to the market', de: 'auf den Markt' },
    spot: { en: 'under a table', de: 'unter einem Tisch' },
    detail: { en: 'It smelled of fresh bread.', de: 'Es roch nach frischem Brot.' },
  },
  {
    en: 'garden',
    de: 'Garten',
    gender: 'm',
    at: { en: 'in the garden', de: 'im Garten' },
    to: { en: 'into the garden', de: 'in den Garten' },
    spot: { en: 'behind the roses', de: 'hinter den Rosen' },
    detail: { en: 'The bees were humming in the flowers.', de: 'In den Blumen summten die Bienen.' },
  },
  {
    en: 'beach',
    de: 'Strand',
    gender: 'm',
    at: { en: 'on the beach', de: 'am Strand' },
    to: { en: 'to the beach', de: 'an den Strand' },
    spot: { en: 'behind a rock', de: 'hinter einem Felsen' },
    detail: { en: 'The waves were rolling over the sand.', de: 'Die Wellen rollten über den Sand.' },
  },
  {
    en: 'park',
    de: 'Park',
    gender: 'm',
    at: { en: 'in the park', de: 'im Park' },
    to: { en: 'to the park', de: 'in den Park' },
    spot: { en: 'under a bench', de: 'unter einer Bank' },
    detail: { en: 'The ducks were quacking on the pond.', de: 'Auf dem Teich schnatterten die Enten.' },
  },
  {
    en: 'farm',
    de: 'Bauernhof',
    gender: 'm',
    at: { en: 'on the farm', de: 'auf dem Bauernhof' },
    to: { en: 'to the farm', de: 'auf den Bauernhof' },
    spot: { en: 'behind the barn', de: 'hinter der Scheune' },
    detail: { en: 'The hens were scratching in the straw.', de: 'Im Stroh scharrten die Hühner.' },
  },
  {
    en: 'lake',
    de: 'See',
    gender: 'm',
    at: { en: 'by the lake', de: 'am See' },
    to: { en: 'to the lake', de: 'zum See' },
    spot: { en: 'beside an old boat', de: 'neben einem alten Boot' },
    detail: { en: 'The water lay as smooth as glass.', de: 'Das Wasser lag da, glatt wie Glas.' },
  },
  {
    en: 'hill',
    de: 'Hügel',
    gender: 'm',
    at: { en: 'on the hill', de: 'auf dem Hügel' },
    to: { en: 'up the hill', de: 'auf den Hügel' },
    spot: { en: 'in the tall grass', de: 'im hohen Gras' },
    detail: { en: 'From there one could see the whole valley.', de: 'Von dort sah man das ganze Tal.' },
  },
  {
    en: 'village',
    de: 'Dorf',
    gender: 'n',
    at: { en: 'in the village', de: 'im Dorf' },
    to: { en: 'to the village', de: 'ins Dorf' },
    spot: { en: 'behind the church', de: 'hinter der Kirche' },
    detail: { en: 'The church bells were ringing.', de: 'Die Kirchenglocken läuteten.' },
  },
  {
    en: 'bridge',
    de: 'Brücke',
    gender: 'f',
    at: { en: 'by the bridge', de: 'an der Brücke' },
    to: { en: 'to the bridge', de: 'zur Brücke' },
    spot: { en: 'under a bush', de: 'unter einem Busch' },
    detail: {
      en: 'A cart rolled by, and the planks creaked.',
      de: 'Ein Wagen rollte vorbei, und die Bretter knarrten.',
    },
  },
  {
    en: 'meadow',
    de: 'Wiese',
    gender: 'f',
    at: { en: 'in the meadow', de: 'auf der Wiese' },
    to: { en: 'to the meadow', de: 'auf die Wiese' },
    spot: { en: 'among the flowers', de: 'zwischen den Blumen' },
    detail: { en: 'The grass was full of butterflies.', de: 'Das Gras war voller Schmetterlinge.' },
  },
  {
    en: 'castle',
    de: 'Burg',
    gender: 'f',
    at: { en: 'at the castle', de: 'bei der Burg' },
    to: { en: 'to the castle', de: 'zur Burg' },
    spot: { en: 'beside the gate', de: 'neben dem Tor' },
    detail: { en: 'A flag was waving on the tower.', de: 'Auf dem Turm wehte eine Fahne.' },
  },
  {
    en: 'mill',
    de: 'Mühle',
    gender: 'f',
    at: { en: 'at the mill', de: 'bei der Mühle' },
    to: { en: 'to the mill', de: 'zur Mühle' },
    spot: { en: 'behind a sack', de: 'hinter einem Sack' },
    detail: { en: 'The big wheel was turning slowly.', de: 'Das große Rad drehte sich langsam.' },
  },
]
