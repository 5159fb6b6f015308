import { InputError } from './errors.ts'
import { nearest } from './text/nearest.ts'

/** Characters of a value in a sentence. */
const LONGEST = 40

/** A value as a sentence shows it: text in quotes, numbers as they are, anything long cut. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' || isPlain(value) ? JSON.stringify(value) : nameOf(value)
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text
}

/** @throws InputError with the value and what was expected, unless that holds */
export function assertThat(what: string, value: unknown, holds: boolean, expected: string): asserts holds {
  if (!holds) throw new InputError(`${what}: is ${shown(value)}, expected ${expected}`)
}

/** @throws InputError for a value that is none of the names */
export function assertOneOf(what: string, value: unknown, names: readonly string[]): void {
  assertThat(what, value, names.includes(value as string), `one of ${names.join(', ')}`)
}

/** @throws InputError for anything but an object with fields; arrays are none */
export function assertObject(what: string, value: unknown, expected: string): asserts value is object {
  assertThat(what, value, isJsonObject(value), expected)
}

/** A misspelt option would else change nothing, unheard. @throws InputError for a field that is none of the names */
export function assertNames(what: string, value: object, names: Record<string, unknown>): void {
  const known = Object.keys(names)
  const wrong = Object.keys(value).find((name) => !known.includes(name))
  if (wrong === undefined) return
  const [near] = nearest(wrong, known)
  assertThat(what, wrong, false, `one of ${known.join(', ')}; the nearest is ${near}`)
}

/** @throws InputError for anything but a whole number from `min` to `max` */
export function assertWhole(what: string, value: unknown, min: number, max = Number.MAX_SAFE_INTEGER): void {
  const holds = Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`
  assertThat(what, value, holds, `a whole number ${range}`)
}

/** @throws InputError for numbers in another form than `Type`, or for another count of them */
export function assertNumbers(
  what: string,
  value: unknown,
  Type: typeof Float32Array | typeof Int32Array,
  shape: string,
  length?: number,
): void {
  const article = Type === Int32Array ? 'an' : 'a'
  assertThat(what, value, value instanceof Type, `${article} ${Type.name} ${shape}`)
  if (length !== undefined && value.length !== length) {
    throw new InputError(`${what}: has ${value.length} values, expected ${length} ${shape}`)
  }
}

function isPlain(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
}

function nameOf(value: unknown): string {
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return String(value)
  return `a ${value.constructor?.name ?? 'nameless object'}`
}

/** Whether a parsed JSON value is an object (not null, not an array). */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
