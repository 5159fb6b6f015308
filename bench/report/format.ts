import type { Row } from '../schema.ts'

/** What is not known, in every table. */
export const UNKNOWN = '-'

/** Median milliseconds. */
export function time(row: Row | undefined): string {
  return fixed(row?.medianMs ?? null)
}

export function intervalOf(row: Row | undefined): string {
  if (!row || row.speedupLow === null || row.speedupHigh === null) return UNKNOWN
  return `${row.speedupLow.toFixed(2)}..${row.speedupHigh.toFixed(2)}`
}

/** Two decimals below 100, none from 1000. */
export function fixed(value: number | null): string {
  if (value === null) return UNKNOWN
  return value.toFixed(value < 100 ? 2 : value < 1000 ? 1 : 0)
}

export function ratio(value: number | null): string {
  return value === null ? UNKNOWN : `${value.toFixed(2)}x`
}

export function percent(share: number | null): string {
  return share === null ? UNKNOWN : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}

/** Parameters, with a letter for their thousands. */
export function count(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toFixed(2)}B`
  return parameters >= 1e6 ? `${(parameters / 1e6).toFixed(2)}M` : `${(parameters / 1e3).toFixed(1)}K`
}
