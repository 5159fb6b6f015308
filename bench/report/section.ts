import type { Dispatch } from '../schema.ts'
import type { Cells } from './tables.ts'

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

/** A part of the page: what was asked, what the data says to it, pictures, and their numbers as a table. */
export interface PageSection {
  /** For links into the page. */
  id: string
  title: string
  /** Made from the data, whichever way it went. */
  sentence: string
  /** What should be in the pictures and was not measured; empty when all was. */
  missing?: string
  /** How to read the pictures; shown where there are some. */
  note: string
  /** Dispatches that appear, for the legend. */
  dispatches: Dispatch[]
  panels: Panel[]
  table: Cells
}
