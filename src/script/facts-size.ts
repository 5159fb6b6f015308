import { InvalidArgumentError, type Option } from 'commander'
import {
  checkFactsSize,
  type FactsSize,
  MAX_ENTITIES,
  MAX_PHRASINGS,
  MIN_PHRASINGS,
} from '../corpus/facts/world.ts'
import { UsageError } from '../errors.ts'
import { numberOf } from '../text/number.ts'
import { FACTS } from '../train/facts.ts'

/** How many facts a corpus has: `1000`, or `1000x4` with other than all phrasings. */
export function factsSize(text: string): FactsSize {
  const [entities, phrasings = MAX_PHRASINGS, ...rest] = text
    .split('x')
    .map((part) => numberOf(part) ?? Number.NaN)
  const size = { entities, phrasings }
  try {
    checkFactsSize(size)
    if (rest.length === 0) return size
  } catch {}
  throw new InvalidArgumentError(
    `Expected entities from 1 to ${MAX_ENTITIES}, such as 1000, or with phrasings from ${MIN_PHRASINGS} to ${MAX_PHRASINGS}, such as 1000x4.`,
  )
}

/** A flag that takes `[n]`, how many entities, and without it those of the models that come with the package. */
export function factsFlag(help: string) {
  const entities = FACTS.entities
  return [
    '[n]',
    `${help} (default: ${entities})`,
    factsSize,
    undefined,
    (option: Option) => option.preset(`${entities}`),
  ] as const
}

/** What says how facts are trained on is of no effect without them, which would pass unheard. */
export function checkFactsFlags(given: { facts?: unknown; factsShare?: number; exposures?: number }): void {
  if (!given.facts && (given.exposures ?? given.factsShare) !== undefined)
    throw new UsageError('--exposures and --facts-share belong to --facts')
}
