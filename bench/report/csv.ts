import { csvFormatRow } from 'd3-dsv'
import { type BenchReport, ROW_FIELDS, type Row } from '../schema.ts'

type Column = readonly [name: string, of: (row: Row) => unknown]

/** Fields that hold several numbers lie flat; samples are in the JSON alone. */
const FLAT: Partial<Record<keyof Row, Column[]>> = {
  dims: [
    ['d', ({ dims }) => dims?.D],
    ['h', ({ dims }) => dims?.H],
    ['e', ({ dims }) => dims?.E],
    ['k', ({ dims }) => dims?.K],
  ],
  spread: [
    ['min_tokens_per_expert', ({ spread }) => spread?.minTokens],
    ['mean_tokens_per_expert', ({ spread }) => spread?.meanTokens],
    ['max_tokens_per_expert', ({ spread }) => spread?.maxTokens],
  ],
  samplesMs: [],
}

/** The schema's fields in its order: a new one at the end leaves a reader's columns where they are. */
const COLUMNS = ROW_FIELDS.flatMap(
  (field): Column[] =>
    FLAT[field] ?? [[field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), (row) => row[field]]],
)

/** A line a row after the heading, by RFC 4180 (CRLF, quotes doubled); unknown is empty. */
export function benchCsv({ date, conditions, rows }: BenchReport): string {
  const { commit, runtime, preset } = conditions
  const { device, deviceName, threads } = runtime
  const session = { date, commit, device, device_name: deviceName, threads, preset }
  const lines = [
    [...Object.keys(session), ...COLUMNS.map(([name]) => name)],
    ...rows.map((row) => [...Object.values(session), ...COLUMNS.map(([, of]) => of(row))]),
  ]
  return lines.map((cells) => `${csvFormatRow(cells as string[])}\r\n`).join('') // writes any value as text
}
