import { hash32, type Random } from './random.ts'
import type { Split } from './types.ts'

const MAX_DRAWS = 10_000

/**
 * The split that a combination belongs to: 80 % train, 10 % validation, 10 % held out. It hangs on the combination
 * alone, never on the seed, so a model trained with one seed can be measured with another.
 */
export function splitOf(combination: string): Split {
  const slot = hash32(`split/${combination}`) % 10
  if (slot === 0) return 'validation'
  return slot === 1 ? 'heldout' : 'train'
}

/** Draws until the drawn value's combination belongs to the split. */
export function drawIn<T>(
  random: Random,
  split: Split,
  draw: (random: Random) => T,
  combinationOf: (value: T) => string,
): T {
  for (let i = 0; i < MAX_DRAWS; i++) {
    const value = draw(random)
    if (splitOf(combinationOf(value)) === split) return value
  }
  throw new Error(`no combination of split ${split} in ${MAX_DRAWS} draws`)
}
