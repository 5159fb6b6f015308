import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { excerpt, shown } from '../text/foreign.ts'

/*
 * The table of a family's fields: what is made of each field of config.json. Reading goes by it, and docs/families.md shows it.
 * A field that is in no table is one that the published class does not know either: nothing reads it.
 */

/** One field of config.json. */
export type Field<Schema extends z.ZodType = z.ZodType> =
  /** Read. `says` is what it decides, with its limits here. The schema's default is the published class's. */
  | { role: 'used'; schema: Schema; says: string }
  /** Another name of a used field, which wins where both are there, as in the published class's `attribute_map`, or does not. */
  | { role: 'alias'; of: string; wins: boolean }
  /** The published class knows it, and the logits of a forward do not hang on it. */
  | { role: 'without effect'; why: string }
  /** It changes the published forward and not ours: refused unless it is absent or holds what changes nothing. */
  | { role: 'refused'; unless: (value: unknown, c: Record<string, unknown>) => boolean; expected: string }

export type FieldTable = Record<string, Field>

/** The values of a table's used fields. */
export type FieldsOf<Table extends FieldTable> = {
  [Name in keyof Table as Table[Name] extends { role: 'used' } ? Name : never]: Table[Name] extends {
    schema: infer Schema extends z.ZodType
  }
    ? z.output<Schema>
    : never
}

export function used<Schema extends z.ZodType>(schema: Schema, says: string) {
  return { role: 'used', schema, says } as const
}

export const positiveInt = z.int().positive()
export const positive = z.number().positive()

/** A whole number above 0, by default `by`. */
export function size(by: number, says: string) {
  return used(positiveInt.default(by), says)
}

/** The same, or null. */
export function limit(by: number | null, says: string) {
  return used(positiveInt.nullable().default(by), says)
}

export function amount(by: number, says: string) {
  return used(positive.default(by), says)
}

export function flag(by: boolean, says: string) {
  return used(z.boolean().default(by), says)
}

export function aliasOf(of: string, wins = true) {
  return { role: 'alias', of, wins } as const
}

export function withoutEffect(why: string) {
  return { role: 'without effect', why } as const
}

/** `changesNothing` is the value that may stand there, or says of one whether it may. */
export function refused(
  expected: string,
  changesNothing: null | boolean | ((value: unknown, c: Record<string, unknown>) => boolean) = null,
) {
  const unless =
    typeof changesNothing === 'function' ? changesNothing : (value: unknown) => value === changesNothing
  return { role: 'refused', unless, expected } as const
}

/**
 * What gives the used fields of a config.json by their own names.
 * @throws ConfigError naming file, field (as the file calls it) and value
 */
export function readerOf<Table extends FieldTable>(
  table: Table,
): (json: unknown, file: string) => FieldsOf<Table> {
  const schemas = Object.entries(table).flatMap(([name, field]) =>
    field.role === 'used' ? [[name, field.schema] as const] : [],
  )
  const schema = z.looseObject(Object.fromEntries(schemas))
  return (json, file) => {
    const { plain, called } = withoutAliases(table, json)
    if (called.size > 0) parseFields(schema, json, file) // what an alias wins over is looked at too
    const c = parseFields(schema, plain, file, called)
    for (const [name, field] of Object.entries(table)) {
      if (field.role !== 'refused' || c[name] === undefined || field.unless(c[name], c)) continue
      throw new ConfigError(`${file}: "${name}" is ${shown(c[name])}, expected ${field.expected}`)
    }
    return Object.fromEntries(schemas.map(([name]) => [name, c[name]])) as FieldsOf<Table>
  }
}

/** The same fields with aliases turned to what they stand for, and what the file called those. */
function withoutAliases(table: FieldTable, json: unknown) {
  const called = new Map<PropertyKey, string>()
  if (typeof json !== 'object' || json === null) return { plain: json, called }
  const plain: Record<string, unknown> = { ...json }
  for (const [name, value] of Object.entries(json)) {
    const field = Object.hasOwn(table, name) ? table[name] : undefined
    if (field?.role !== 'alias' || (!field.wins && Object.hasOwn(json, field.of))) continue
    plain[field.of] = value
    called.set(field.of, name)
  }
  return { plain, called }
}

/**
 * Checks `json` against a schema; the first fault becomes one sentence that names file, field and value.
 * @param called names that the file has for fields, where they are others
 */
export function parseFields<S extends z.ZodType>(
  schema: S,
  json: unknown,
  file: string,
  called?: ReadonlyMap<PropertyKey, string>,
): z.output<S> {
  const result = schema.safeParse(json)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const path = issue.path.map((key) => called?.get(key) ?? key)
  const field = excerpt(path.join('.')) || 'the whole file'
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], json)
  const found = value === undefined ? 'is missing' : `is ${shown(value)}`
  throw new ConfigError(`${file}: "${field}" ${found}, ${issue.message.replace(/^Invalid input: /, '')}`)
}
