import { createRequire } from 'node:module'
import { InputError } from '../errors.ts'
import { nearest } from '../text/nearest.ts'
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

/** The names most like this one; of theirs the owner does not count. */
export function nearNames(name: string): string[] {
  return nearest(
    name,
    publishedModels().map((model) => model.name),
    (whole) => whole.split('/').at(-1)!,
  ).slice(0, NEAR)
}
