const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

/** The number that a text is as a whole, such as `3`, `-0.5`, `.5`, `1e-3` or `2.788E6`; null for anything else. */
export function numberOf(text: string): number | null {
  const value = NUMBER.test(text) ? Number(text) : Number.NaN
  return Number.isFinite(value) ? value : null
}

/** A float32 in the fewest digits that always read back as the same one. */
export function nineDigits(value: number): number {
  return value === 0 ? value : Number(value.toPrecision(9)) // the sign of zero would get lost on the way
}
