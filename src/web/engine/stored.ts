import { nineDigits } from '../../text/number.ts'

/** Plain data with typed arrays as JSON: an array becomes `{ "f32": [...] }` or `{ "i32": [...] }`. */
export function toStored(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Float32Array) return { f32: Array.from(part, nineDigits) }
    return part instanceof Int32Array ? { i32: [...part] } : part
  })
}

export function fromStored<T>(json: string): T {
  return JSON.parse(json, (_, part: { f32?: number[]; i32?: number[] } | null) => {
    if (part?.f32) return Float32Array.from(part.f32)
    return part?.i32 ? Int32Array.from(part.i32) : part
  })
}
