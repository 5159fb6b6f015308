import { messageOf, type TinymoeError } from '../errors.ts'
import { excerpt } from './foreign.ts'
import { nineDigits } from './number.ts'

/** The kind of error that a caller gives the faults of its files. */
export type Failure = new (message: string, options?: ErrorOptions) => TinymoeError

/** What JSON from outside says. `source` is what the message begins with. @throws `Failure` for what is not JSON */
export function parseJson(json: string | Uint8Array, source: string, Failure: Failure): unknown {
  try {
    return JSON.parse(typeof json === 'string' ? json : new TextDecoder().decode(json))
  } catch (error) {
    throw new Failure(`${source} not JSON (${excerpt(messageOf(error))})`, { cause: error })
  }
}

/**
 * JSON from which numbers read back as the same: float32 in nine digits, the sign of zero, and what is no number as a string
 * ("NaN", as in protobuf's JSON). In a list, objects have a line each.
 */
export function exactJson(value: unknown): string {
  if (Object.is(value, -0)) return '-0' // JSON.stringify loses the sign
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : `"${value}"`
  if (value instanceof Float32Array) return listed(Array.from(value, nineDigits))
  if (Array.isArray(value) || ArrayBuffer.isView(value))
    return listed(Array.from(value as ArrayLike<unknown>))
  if (typeof value === 'object' && value !== null) {
    const given = Object.entries(value).filter(([, field]) => field !== undefined)
    return `{${given.map(([name, field]) => `${JSON.stringify(name)}: ${exactJson(field)}`).join(', ')}}`
  }
  return JSON.stringify(value)
}

function listed(values: unknown[]): string {
  const items = values.map(exactJson)
  return items[0]?.startsWith('{') ? `[\n${items.join(',\n')}\n]` : `[${items.join(', ')}]`
}
