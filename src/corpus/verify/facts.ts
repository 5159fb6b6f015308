import { entityNamed, factsOf } from '../facts/world.ts'

/** What is wrong with a document of facts: who it is about, what is said of it, and whether that is so. Reads any number of facts. */
export function factProblems(text: string): string[] {
  const match = /^([A-Z][a-z]+) (.+)\.$/.exec(text)
  if (!match) return [`not a sentence about a name: "${text}"`]
  const [, name, told] = match
  const entity = entityNamed(name)
  if (entity === undefined) return [`nobody and nothing is named ${name}`]
  const known = factsOf(entity)
  const attributes: string[] = []
  return told.split(', ').flatMap((part) => {
    const [value] = part.split(' ').slice(-1)
    const phrasing = part.slice(0, -value.length - 1)
    const fact = known.find(({ phrasings }) => phrasings.includes(phrasing))
    if (!fact) return [`"${part}" tells no fact of a ${known[0].kind}`]
    if (attributes.includes(fact.attribute)) return [`the ${fact.attribute} of ${name} is told twice`]
    attributes.push(fact.attribute)
    return fact.value === value
      ? []
      : [`the ${fact.attribute} of ${name} is ${value}, expected ${fact.value}`]
  })
}
