import { createRequire } from 'node:module'
import { InputError } from '../errors.ts'
import type { PublishedModel } from './published.ts'

/** All of them, in the order of the file. */
export function publishedModels(): PublishedModel[] {
  return createRequire(import.meta.url)('tinymoe/published-models.json')
}

/** Names shown beside an unknown one. */
const NEAR = 3

/**
 * The model of this name: the whole of it, or a part that only one has, such as `mixtral-8x7b` or `deepseek-v3`; case
 * does not matter. Undefined for none.
 * @throws InputError when several have it
 */
export function findPublished(name: string): PublishedModel | undefined {
  const models = publishedModels()
  const wanted = name.toLowerCase()
  if (wanted === '') return undefined
  const ways: ((candidate: string) => boolean)[] = [
    (candidate) => candidate === wanted,
    (candidate) => candidate.split('/')[1] === wanted,
    (candidate) => candidate.endsWith(wanted),
    (candidate) => candidate.includes(wanted),
  ]
  for (const fits of ways) {
    const found = models.filter((model) => fits(model.name.toLowerCase()))
    if (found.length === 1) return found[0]
    if (found.length > 1) {
      throw new InputError(
        `${name}: several models have that in their name: ${found.map((m) => m.name).join(', ')}`,
      )
    }
  }
}

/** The names most like this one, by the pairs of letters they share. */
export function nearNames(name: string): string[] {
  const wanted = letterPairs(name)
  return publishedModels()
    .map((model) => ({ name: model.name, likeness: likeness(wanted, letterPairs(model.name)) }))
    .sort((a, b) => b.likeness - a.likeness)
    .slice(0, NEAR)
    .map((candidate) => candidate.name)
}

function letterPairs(text: string): Set<string> {
  const last = text
    .toLowerCase()
    .split('/')
    .at(-1)!
    .replace(/[^a-z0-9]/g, '')
  return new Set(Array.from({ length: Math.max(0, last.length - 1) }, (_, i) => last.slice(i, i + 2)))
}

/** Dice's coefficient: 1 for the same pairs, 0 for none in common. */
function likeness(a: Set<string>, b: Set<string>): number {
  const shared = [...a].filter((pair) => b.has(pair)).length
  return (2 * shared) / (a.size + b.size || 1)
}
