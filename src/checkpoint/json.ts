import { CheckpointError, messageOf } from '../errors.ts'

const MAX_NAME_SHOWN = 200
const MAX_NUMBERS_SHOWN = 16

/**
 * `JSON.parse` for files from outside: bytes that are not UTF-8, bad JSON, and a key given twice in one object (where
 * `JSON.parse` would quietly take the last) are each a CheckpointError that begins with `where`.
 */
export function parseStrictJson(where: string, bytes: Uint8Array): unknown {
  let text: string
  let value: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch (error) {
    throw new CheckpointError(`${where} is not JSON: ${messageOf(error)}`, { cause: error })
  }
  const key = repeatedKey(text)
  if (key !== undefined) throw new CheckpointError(`${where} names ${quote(key)} twice`)
  return value
}

/** Whether a parsed JSON value is an object (not null, not an array). */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A name from outside, as JSON and shortened, for a message. */
export function quote(name: string): string {
  return JSON.stringify(name.length > MAX_NAME_SHOWN ? `${name.slice(0, MAX_NAME_SHOWN)}...` : name)
}

/** A list from outside, shortened, for a message: `[2,3]`. */
export function showList(values: readonly unknown[]): string {
  const shown = values.slice(0, MAX_NUMBERS_SHOWN).map(showValue)
  const more = values.length - shown.length
  return `[${shown.join(',')}${more > 0 ? `,... ${more} more` : ''}]`
}

/** Not `JSON.stringify`, which runs out of stack on a list nested deeply enough. */
function showValue(value: unknown): string {
  if (typeof value === 'string') return quote(value)
  if (Array.isArray(value)) return 'array'
  return isJsonObject(value) ? 'object' : String(value)
}

/** The first key that occurs twice in one object of `json`, which must be valid JSON. One pass, no recursion. */
function repeatedKey(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [] // the keys of each object we are in; undefined for an array
  for (let i = 0; i < json.length; i++) {
    const char = json[i]
    if (char === '{') open.push(new Set())
    else if (char === '[') open.push(undefined)
    else if (char === '}' || char === ']') open.pop()
    else if (char === '"') {
      const end = stringEnd(json, i)
      const keys = open.at(-1)
      if (keys && isBeforeColon(json, end)) {
        const key: string = JSON.parse(json.slice(i, end))
        if (keys.has(key)) return key
        keys.add(key)
      }
      i = end - 1
    }
  }
}

/** The index after the closing quote of the string that opens at `start`. */
function stringEnd(json: string, start: number): number {
  let i = start + 1
  while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1
  return i + 1
}

function isBeforeColon(json: string, from: number): boolean {
  let i = from
  while (json[i] === ' ' || json[i] === '\t' || json[i] === '\n' || json[i] === '\r') i++
  return json[i] === ':'
}
