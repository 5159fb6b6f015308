import type { Dispatch } from '../schema.ts'

/** What a colour means; its shape as a character where there is one. */
export interface LegendEntry {
  colour: string
  sign?: string
  words: string
}

/** One picture with its words; several stand side by side where there is room. */
export interface Panel {
  caption: string
  /** An `<svg>` as text. */
  svg: string
  /** What its colours mean, where they are not dispatches. */
  legend?: LegendEntry[]
}

/** Headings, and rows of cells. */
export interface Table {
  columns: string[]
  /** The first column is a name. */
  rows: string[][]
  /** Whether all columns hold words, not numbers. */
  words?: boolean
}

/** A part of a report, as every renderer takes it: what the numbers are or say, the numbers, and pictures of them. */
export interface Section extends Table {
  /** For links into the page. */
  id: string
  title: string
  sentence: string
  /** What is said behind it where there is room: in the files, not in a terminal. */
  details?: string
  panels?: Panel[]
  /** Dispatches that appear in the pictures, for the legend. */
  dispatches?: Dispatch[]
}

/** All that is said of a section. */
export function saidOf({ sentence, details }: Section): string {
  return details ? `${sentence} ${details}` : sentence
}

/** How a table shows one thing of each of its rows; the unit is said behind the heading where the title does not say it. */
export type Column<R> = readonly [heading: string, cell: (row: R) => string, unit?: string]

/** The table of a section. */
export function tableOf<R>(rows: readonly R[], columns: readonly Column<R>[]): Table {
  return {
    columns: columns.map(([heading, , unit]) => (unit ? `${heading} ${unit}` : heading)),
    rows: rows.map((row) => columns.map(([, cell]) => cell(row))),
  }
}

/** Heading and rows. */
export function cellsOf({ columns, rows }: Table): string[][] {
  return [columns, ...rows]
}
