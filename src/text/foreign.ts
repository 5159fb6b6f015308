/*
 * Text from outside (a file, a name, another program's words) as it may stand in a message or on a screen.
 */

/** Of a value from outside, enough to see what it is. */
const MOST_SHOWN = 200

const NAMED_ESCAPES: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/**
 * A text on one line with nothing in it that a terminal obeys or does not show: controls, escape sequences, marks that turn
 * the direction of text, lone surrogates, and spaces other than the plain one become escapes.
 */
export function escaped(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu,
    (c) => NAMED_ESCAPES[c] ?? `\\u{${c.codePointAt(0)?.toString(16)}}`,
  )
}

/** The same in quotes, whole. */
export function quoted(text: string): string {
  return `"${escaped(text.replace(/["\\]/g, '\\$&'))}"`
}

/** What another program or library says, for the inside of a sentence: escaped and shortened. */
export function excerpt(text: string): string {
  return escaped(shortened(text))
}

/** Where in a value read from a file something is: `rows[3].medianMs: `, or nothing for the whole. */
export function placeIn(path: readonly PropertyKey[]): string {
  const place = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')
  return place === '' ? '' : excerpt(`${place.replace(/^\./, '')}: `)
}

/** A value read from a file, for a message: as JSON, escaped and shortened. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return quoted(shortened(value))
  return excerpt(JSON.stringify(value) ?? String(value))
}

function shortened(text: string): string {
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}...` : text
}
