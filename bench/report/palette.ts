import type { SymbolType } from '@observablehq/plot'
import type { Dispatch } from '../schema.ts'

/** How a dispatch looks in every picture, told apart also by shape; its colour is in page.css. */
export interface Look {
  symbol: SymbolType
  /** The same shape as text, for legends. */
  sign: string
  words: string
  /** Dashes of its line: a twin often lies on the dispatch that it is as large as, and both are to be seen. */
  dashes?: string
}

export const LOOKS: Record<Dispatch, Look> = {
  dense: { symbol: 'square', sign: '■', words: 'dense: every expert' },
  sparse: { symbol: 'circle', sign: '●', words: 'sparse: rows by expert' },
  gather: { symbol: 'triangle', sign: '▲', words: 'gather: one assignment at a time' },
  'twin-active': { symbol: 'diamond', sign: '◆', words: 'twin-active: K H wide, no experts', dashes: '5 3' },
  'twin-total': { symbol: 'star', sign: '★', words: 'twin-total: E H wide, no experts', dashes: '5 3' },
}

/** Parts of a sparse dispatch's time, as stacked in the picture of the gap. */
export const PARTS = {
  ideal: 'ideal: K/E of dense',
  products: "experts' products beyond that",
  router: 'router',
  grouping: 'grouping',
  combining: 'combining',
  together: 'the whole against its parts',
} as const
export type Part = keyof typeof PARTS

export function colourOf(name: Dispatch | Part): string {
  return `var(--${name})`
}
