import { isJsonObject } from '../checks.ts'
import { CheckpointError, messageOf } from '../errors.ts'
import { excerpt, shown } from '../text/foreign.ts'

const [QUOTE, BACKSLASH, OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = Array.from('"\\{}[]', (c) =>
  c.charCodeAt(0),
)

const MAX_NUMBERS_SHOWN = 16
const MAX_NAMES_SHOWN = 5

/** Deeper than any header or index. A limit, because `JSON.parse` takes half a minute over 100 MB of "[". */
const MAX_DEPTH = 16

/**
 * `JSON.parse` for files from outside: bytes that are not UTF-8, bad JSON, lists in lists too deep, and a key given twice in
 * one object (where `JSON.parse` would quietly take the last) are each a CheckpointError that begins with `where`.
 */
export function parseStrictJson(where: string, bytes: Uint8Array): unknown {
  let fault: string | undefined
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    fault = faultOf(text)
    if (fault === undefined) return JSON.parse(text)
  } catch (error) {
    throw new CheckpointError(`${where} is not JSON: ${excerpt(messageOf(error))}`, { cause: error })
  }
  throw new CheckpointError(`${where} ${fault}`)
}

/** A name from outside, quoted and shortened, for a message. */
export function quote(name: string): string {
  return shown(name)
}

/** Names from outside, shortened, for a message: `"a", "b" and 3 more`. */
export function listNames(names: string[]): string {
  const more = names.length - MAX_NAMES_SHOWN
  const shown = names.slice(0, MAX_NAMES_SHOWN).map(quote).join(', ')
  return more > 0 ? `${shown} and ${more} more` : shown
}

/** A list from outside, shortened, for a message: `[2,3]`. */
export function showList(values: readonly unknown[]): string {
  const first = values.slice(0, MAX_NUMBERS_SHOWN).map(showValue)
  const more = values.length - first.length
  return `[${first.join(',')}${more > 0 ? `,... ${more} more` : ''}]`
}

function showValue(value: unknown): string {
  if (typeof value === 'string') return quote(value)
  if (Array.isArray(value)) return 'array'
  return isJsonObject(value) ? 'object' : String(value)
}

/** What `JSON.parse` would let pass, or undefined. One pass, whether `json` is valid or not; a bad key is a SyntaxError. */
function faultOf(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [] // the keys of each object we are in; undefined for an array
  for (let i = 0; i < json.length; i++) {
    const code = json.charCodeAt(i)
    if (code === QUOTE) {
      const end = stringEnd(json, i)
      const keys = open.at(-1)
      if (keys && isBeforeColon(json, end)) {
        const key: string = JSON.parse(json.slice(i, end))
        if (keys.has(key)) return `names ${quote(key)} twice`
        keys.add(key)
      }
      i = end - 1
    } else if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      open.push(code === OPEN_BRACE ? new Set() : undefined)
      if (open.length > MAX_DEPTH) return `nests deeper than ${MAX_DEPTH} levels`
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) open.pop()
  }
}

/** The index after the closing quote of the string that opens at `start`. */
function stringEnd(json: string, start: number): number {
  let i = start + 1
  while (i < json.length && json.charCodeAt(i) !== QUOTE) i += json.charCodeAt(i) === BACKSLASH ? 2 : 1
  return i + 1
}

function isBeforeColon(json: string, from: number): boolean {
  let i = from
  while (json[i] === ' ' || json[i] === '\t' || json[i] === '\n' || json[i] === '\r') i++
  return json[i] === ':'
}
