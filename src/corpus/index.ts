import { arithmetic } from './arithmetic.ts'
import { code } from './code.ts'
import { data } from './data.ts'
import { dates } from './dates.ts'
import { facts } from './facts/facts.ts'
import type { FactsSize } from './facts/world.ts'
import { Random } from './random.ts'
import { englishStory } from './story/english.ts'
import { germanStory } from './story/german.ts'
import { drawScene, type Scene, sceneKey } from './story/scene.ts'
import { ALL_DOMAINS, DOMAINS, type Domain, type Draft, type Sample, type Split } from './types.ts'

export { splitOf } from './split.ts'
export * from './types.ts'
export { checkAnswer, verifyText } from './verify/index.ts'

const GENERATORS: Readonly<Record<(typeof DOMAINS)[number], (random: Random, split: Split) => Draft>> = {
  story: (random, split) => tell(englishStory, random, split),
  arithmetic,
  code,
  german: (random, split) => tell(germanStory, random, split),
  data,
  dates,
}

function tell(language: (scene: Scene, random: Random) => string, random: Random, split: Split): Draft {
  const scene = drawScene(random, split)
  return { form: scene.plot, text: language(scene, random), combinations: [sceneKey(scene)] }
}

/**
 * Document number `index` of a domain and split: a pure function, so any document can be made again by itself. Of facts it is one of a
 * corpus of that size, which must be given.
 */
export function generateSample(
  domain: Domain,
  split: Split,
  index: number,
  seed: number,
  size?: FactsSize | null,
): Sample {
  const random = new Random(`${seed}/${split}/${domain}/${index}`)
  if (domain !== 'facts') return { domain, split, ...GENERATORS[domain](random, split) }
  if (!size) throw new Error('generateSample: facts need the number of entities and phrasings')
  return { domain, split, ...facts(random, split, size) }
}

/** Share of the characters by domain; a domain left out gets none. */
export type Mix = Partial<Record<Domain, number>>

export interface CorpusOptions {
  split: Split
  seed: number
  /** Stop after so many documents; */
  samples?: number
  /** or once the texts have so many characters. With neither, the corpus has no end. */
  chars?: number
  /** Equal shares of the characters, without facts, where left out. */
  mix?: Mix
  /** How many facts, where `mix` has some. */
  facts?: FactsSize | null
}

const EQUAL: Mix = Object.fromEntries(DOMAINS.map((domain) => [domain, 1]))
/** Documents from which a domain's mean length is taken. */
const LENGTH_SAMPLE = 500

/** Documents of all domains in random order. Domains with short documents come more often, so that characters balance. */
export function* corpus(options: CorpusOptions): Generator<Sample, void> {
  const { split, seed, samples = Infinity, chars = Infinity, mix = EQUAL, facts } = options
  const chances = documentChances(mix, split, facts)
  const order = new Random(`${seed}/${split}/order`)
  const next = Object.fromEntries(ALL_DOMAINS.map((domain) => [domain, 0])) as Record<Domain, number>
  let written = 0
  for (let count = 0; count < samples && written < chars; count++) {
    const domain = order.weighted(chances)
    const sample = generateSample(domain, split, next[domain]++, seed, facts)
    written += sample.text.length
    yield sample
  }
}

function documentChances(mix: Mix, split: Split, facts?: FactsSize | null): Record<Domain, number> {
  const chance = (domain: Domain): number => {
    const share = mix[domain] ?? 0
    if (!(share >= 0 && Number.isFinite(share)))
      throw new Error(`share of ${domain} is ${share}, expected 0 or more`)
    if (share === 0) return 0
    let chars = 0
    for (let index = 0; index < LENGTH_SAMPLE; index++)
      chars += generateSample(domain, split, index, 0, facts).text.length
    return (share * LENGTH_SAMPLE) / chars
  }
  return Object.fromEntries(ALL_DOMAINS.map((domain) => [domain, chance(domain)])) as Record<Domain, number>
}
