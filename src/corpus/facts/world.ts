import { createRequire } from 'node:module'
import { InputError } from '../../errors.ts'
import { product } from '../../sums.ts'
import { hash32 } from '../random.ts'

/*
 * The invented world that facts are about: `kinds` of entities with their attributes, and for each the set its values are from and
 * the ways to say it. A name or a value is one part of each list, written together; no value is the beginning of another of its set,
 * and no phrasing that of another. Every set has a power of two values, so that a hash draws them evenly.
 */
interface World {
  names: string[]
  values: Record<string, string[]>
  kinds: Record<string, Record<string, { values: string; phrasings: string[] }>>
}
const WORLD: World = createRequire(import.meta.url)('./world.json')

/** A list of parts for each place in a name or a value. */
const partsOf = (lists: string[]) => lists.map((list) => list.split(' '))
const NAMES = partsOf(WORLD.names)
const SETS = Object.fromEntries(Object.entries(WORLD.values).map(([name, lists]) => [name, partsOf(lists)]))
const KINDS = Object.keys(WORLD.kinds)

/** How many facts a corpus has. Entities are numbered: a smaller corpus has the first ones of a larger, with the same facts. */
export interface FactsSize {
  entities: number
  /** Ways to say each fact: one is asked for in validation, one held out, the others are for training. */
  phrasings: number
}

export const MAX_ENTITIES = product(NAMES.map(({ length }) => length))
export const MIN_PHRASINGS = 3
export const MAX_PHRASINGS = 5
/** Facts of an entity: every kind has as many attributes. */
export const FACTS_AN_ENTITY = Object.keys(WORLD.kinds[KINDS[0]]).length

/** @throws InputError naming the value and its limits */
export function checkFactsSize({ entities, phrasings }: FactsSize): void {
  if (!Number.isInteger(entities) || entities < 1 || entities > MAX_ENTITIES)
    throw new InputError(`facts: entities are ${entities}, expected a whole number from 1 to ${MAX_ENTITIES}`)
  if (!Number.isInteger(phrasings) || phrasings < MIN_PHRASINGS || phrasings > MAX_PHRASINGS)
    throw new InputError(
      `facts: phrasings are ${phrasings}, expected a whole number from ${MIN_PHRASINGS} to ${MAX_PHRASINGS}`,
    )
}

/** What can be known of one entity: `name`, then one of `phrasings`, then `value`. */
export interface Fact {
  /** Number of the entity. */
  entity: number
  name: string
  kind: string
  attribute: string
  value: string
  /** All ways to say it. */
  phrasings: readonly string[]
  /** log2 of the number of values that `value` was drawn from. */
  bits: number
}

/** How far a part of a name moves the next one on, so that the first entities have all parts. Odd: it meets them all. */
const STEP = 27

/** Each list's turn, a digit of the entity's number, is moved on by the part before it. */
function nameOf(entity: number): string {
  let [rest, before] = [entity, 0]
  return NAMES.map((list) => {
    before = (rest + STEP * before) % list.length
    rest = Math.floor(rest / list.length)
    return list[before]
  }).join('')
}

/** The facts of an entity, a function of its number alone. */
export function factsOf(entity: number): Fact[] {
  const name = nameOf(entity)
  const kind = KINDS[entity % KINDS.length]
  return Object.entries(WORLD.kinds[kind]).map(([attribute, { values, phrasings }]) => {
    const set = SETS[values]
    const size = product(set.map(({ length }) => length))
    const value = written(set, hash32(`fact/${entity}/${attribute}`) % size)
    return { entity, name, kind, attribute, value, phrasings, bits: Math.log2(size) }
  })
}

const NAME = new RegExp(`^${NAMES.map((list) => `(${list.join('|')})`).join('')}$`)

/** The number of the entity with a name, or undefined where no entity has it. */
export function entityNamed(name: string): number | undefined {
  const parts = NAME.exec(name)?.slice(1)
  const indices = parts?.map((part, i) => NAMES[i].indexOf(part))
  return indices?.reduceRight((number, index, i) => {
    const { length } = NAMES[i]
    const turn = index - STEP * (indices[i - 1] ?? 0)
    return number * length + (((turn % length) + length) % length)
  }, 0)
}

/** Bits of all facts of a corpus together. */
export function factBits({ entities }: FactsSize): number {
  let bits = 0
  for (let entity = 0; entity < entities; entity++) for (const fact of factsOf(entity)) bits += fact.bits
  return bits
}

/** Number `index` of what can be put together of one part of each list; the first list turns fastest. */
function written(lists: string[][], index: number): string {
  let rest = index
  return lists
    .map((list) => {
      const part = list[rest % list.length]
      rest = Math.floor(rest / list.length)
      return part
    })
    .join('')
}
