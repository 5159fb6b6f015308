import type { Row } from '../schema.ts'

/** What is not known, in every table. */
export const UNKNOWN = '-'

/** Of what is known; the dash of what is not. */
function known(value: number | null | undefined, text: (value: number) => string): string {
  return value === null || value === undefined ? UNKNOWN : text(value)
}

/** Two decimals below 100, none from 1000. */
export function fixed(value: number | null | undefined): string {
  return known(value, (x) => x.toFixed(x < 100 ? 2 : x < 1000 ? 1 : 0))
}

/** Three digits. */
export function digits(value: number | null | undefined): string {
  return known(value, (x) => String(Number(x.toPrecision(3))))
}

/** Three digits and no exponent, for axes, labels and sentences. */
export function short(value: number): string {
  if (value >= 1e12) return `${digits(value / 1e12)}T`
  if (value >= 1e9) return `${digits(value / 1e9)}B`
  if (value >= 1e6) return `${digits(value / 1e6)}M`
  return value >= 1e4 ? `${digits(value / 1e3)}k` : digits(value)
}

/** Milliseconds, three digits with their zeros. */
export function ms(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3)
}

export function ratio(value: number | null | undefined): string {
  return known(value, (x) => `${x.toFixed(2)}x`)
}

export function percent(share: number | null | undefined): string {
  return known(share, (x) => `${(100 * x).toFixed(x < 0.1 ? 1 : 0)} %`)
}

export function intervalOf(row: Pick<Row, 'speedupLow' | 'speedupHigh'> | undefined): string {
  return known(row?.speedupLow, (low) =>
    known(row?.speedupHigh, (high) => `${low.toFixed(2)}..${high.toFixed(2)}`),
  )
}

/** Parameters, with a letter for their thousands. */
export function count(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(2)}B`
  return parameters >= 1e6 ? `${(parameters / 1e6).toFixed(2)}M` : `${(parameters / 1e3).toFixed(1)}K`
}

/** A list for a sentence: `a`, `a and b`, `a, b and c`. */
export function listed(items: readonly string[]): string {
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
