import { hash32, type Random } from '../random.ts'
import type { Draft, Split } from '../types.ts'
import { type Fact, type FactsSize, factsOf } from './world.ts'

/**
 * A portrait of an entity in training: all its facts in any order, each said in a way that is for training. In the other splits one
 * fact, said in the way that is kept for that split, so that it must be recalled and cannot be recited.
 */
export function facts(random: Random, split: Split, size: FactsSize): Draft {
  const own = factsOf(random.int(0, size.entities - 1))
  if (split !== 'train') {
    const fact = random.pick(own)
    const [phrasing] = phrasingsOf(fact, split, size)
    const prompt = question(fact, phrasing)
    const answer = ` ${fact.value}.`
    const form = `${fact.kind} ${fact.attribute}`
    return { form, text: prompt + answer, prompt, answer, combinations: [factKey(fact, phrasing)] }
  }
  const told = random.shuffle(own).map((fact) => ({
    fact,
    phrasing: random.pick(phrasingsOf(fact, split, size)),
  }))
  const [{ name, kind }] = own
  return {
    form: kind,
    text: `${name} ${told.map(({ fact, phrasing }) => `${phrasing} ${fact.value}`).join(', ')}.`,
    combinations: told.map(({ fact, phrasing }) => factKey(fact, phrasing)),
  }
}

/** What is asked of a model: its continuation is the fact's value, behind a space. */
export function question({ name }: Fact, phrasing: string): string {
  return `${name} ${phrasing}`
}

function factKey({ name, attribute }: Fact, phrasing: string): string {
  return `fact ${name} ${attribute} "${phrasing}"`
}

/**
 * The ways in which a split says a fact: one in validation, another in `heldout`, all others in training. Which these are differs from
 * fact to fact, so that every way is known from other facts, and hangs on no seed.
 */
export function phrasingsOf({ entity, attribute, phrasings }: Fact, split: Split, size: FactsSize): string[] {
  const first = hash32(`phrasing/${entity}/${attribute}`)
  const turned = Array.from({ length: size.phrasings }, (_, i) => phrasings[(first + i) % size.phrasings])
  const [validation, heldout, ...train] = turned
  return { train, validation: [validation], heldout: [heldout] }[split]
}
