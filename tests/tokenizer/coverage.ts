import type { Json, Part } from './random-files.ts'

/** Longer lists and texts are one value, "some". */
const MAX_SHOWN = 24

/** Which settings of which parts a number of tokenizer files had. */
export class Coverage {
  private readonly values = new Map<string, Set<string>>()

  add(file: Part): void {
    for (const [field, value] of Object.entries(file)) this.note(field, value)
    for (const token of file.added_tokens as Part[]) this.part('added_tokens', token)
  }

  /** Values by field, such as `normalizer Strip.strip_left`. */
  seen(): Record<string, string[]> {
    return Object.fromEntries([...this.values].sort().map(([name, values]) => [name, [...values].sort()]))
  }

  private note(field: string, value: Json): void {
    const isPart = typeof value === 'object' && value !== null && !Array.isArray(value) && 'type' in value
    if (!isPart) this.value(field, value)
    else if (value.type !== 'Sequence') this.part(`${field} ${value.type}`, value)
    else {
      const list = Object.values(value).find(Array.isArray) as Part[]
      this.value(`${field} Sequence`, list.length)
      for (const part of list) this.note(field, part)
    }
  }

  private part(name: string, part: Part): void {
    for (const [field, value] of Object.entries(part))
      if (field !== 'type') this.value(`${name}.${field}`, value)
    if (Object.keys(part).length === 1) this.value(name, 'there')
  }

  private value(name: string, value: Json): void {
    const shown = JSON.stringify(value)
    const values = this.values.get(name) ?? new Set()
    this.values.set(
      name,
      values.add(shown.length > MAX_SHOWN ? (value && typeof value === 'object' ? 'some' : 'a text') : shown),
    )
  }
}
