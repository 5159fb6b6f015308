import { InvalidArgumentError } from 'commander'
import { numberOf } from '../text/number.ts'
import { SIZES } from '../text/units.ts'

/** A whole number in any of the forms of `numberOf`, within limits: `3x`, `1.5`, `-1` and '' are refused, not guessed at. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return decimal(
    `a whole number from ${min} to ${max}`,
    (value) => Number.isInteger(value) && value >= min && value <= max,
  )
}

/** A number such as 0.7 or 1e-3 that `accepts` takes; `expected` ends the sentence about one that it does not. */
export function decimal(expected: string, accepts: (value: number) => boolean): (text: string) => number {
  return (text) => {
    const value = numberOf(text)
    if (value === null || !accepts(value)) throw new InvalidArgumentError(`Expected ${expected}.`)
    return value
  }
}

/** A number above 0 that is no larger than `max`. */
export function positive(max: number, what = 'a number'): (text: string) => number {
  return decimal(`${what} above 0 and up to ${max}`, (value) => value > 0 && value <= max)
}

/** A number from `min` to `max`, both included. */
export function from(min: number, max: number, what = 'a number'): (text: string) => number {
  return decimal(`${what} from ${min} to ${max}`, (value) => value >= min && value <= max)
}

/** A part of a whole, which leaves some of it. */
export const share = decimal('a number between 0 and 1', (value) => value > 0 && value < 1)

/** Any number that is exact: a seed costs nothing. */
export const seed = wholeNumber(0, Number.MAX_SAFE_INTEGER)

/** Of `--max-tokens` and other counts of tokens in one sequence: more than any model has positions. */
export const MAX_TOKENS = 1e7

/** A million T: beyond every training that there will be, and far from where numbers end. */
const MAX_AMOUNT = 1e18

/** A positive amount with a letter for its size, such as `37B`, `14.8T`, `2788000` or `1.5e13`. */
export function amount(text: string): number {
  const [, digits, letter] = /^(.*?)([KMBT]?)$/.exec(text) ?? []
  const value = (numberOf(digits ?? '') ?? 0) * (SIZES[letter as keyof typeof SIZES] ?? 1)
  if (!(value > 0 && value <= MAX_AMOUNT)) {
    throw new InvalidArgumentError(
      'Expected a positive amount up to 1000000T, such as 37B, 14.8T, 2788000 or 1.5e13.',
    )
  }
  return value
}

/** A number of bytes such as `2GB`, `1.5G`, `500MB` or `2e9`. */
export function byteCount(text: string): number {
  const [, digits, letter] = /^(.*?)([KMGT]?)B?$/.exec(text) ?? []
  const size = { ...SIZES, G: SIZES.B }[letter as 'G'] ?? 1
  const value = Math.floor((numberOf(digits ?? '') ?? 0) * size)
  if (!(value > 0 && value <= Number.MAX_SAFE_INTEGER)) {
    throw new InvalidArgumentError('Expected a number of bytes up to 9007TB, such as 2GB, 500MB or 2e9.')
  }
  return value
}

/** Token ids such as `1,2,3`. */
export function tokenIds(text: string): number[] {
  const entries = text.split(',').map((entry) => entry.trim())
  const ids = entries.map(numberOf)
  if (!ids.every((id): id is number => id !== null && Number.isSafeInteger(id) && id >= 0)) {
    throw new InvalidArgumentError('Expected token ids separated by commas, such as 1,2,3.')
  }
  return ids
}

/** Several such values separated by commas, each once. */
export function listOf<T>(parse: (text: string) => T): (text: string) => T[] {
  return (text) => [...new Set(text.split(',').map(parse))]
}

/** Some of these names. */
export function namesOf<Name extends string>(names: readonly Name[]): (text: string) => Name[] {
  return (text) => {
    const given = text.split(',').map((name) => name.trim())
    if (given.every((name): name is Name => (names as readonly string[]).includes(name))) return given
    throw new InvalidArgumentError(`Expected names from ${names.join(', ')}, separated by commas.`)
  }
}

/** For an option that may be given several times: all its values, in order. */
export function repeated<T>(parse: (text: string) => T): (text: string, previous?: T[]) => T[] {
  return (text, previous = []) => [...previous, parse(text)]
}
