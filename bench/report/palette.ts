import type { SymbolType } from '@observablehq/plot'
import type { Dispatch } from '../schema.ts'

/** How a dispatch looks in every picture: colours of Okabe and Ito (2008), told apart also by shape. */
export interface Look {
  /** On a light and on a dark page. */
  light: string
  dark: string
  symbol: SymbolType
  /** The same shape as text, for legends. */
  sign: string
  words: string
  /** Dashes of its line: a twin often lies on the dispatch that it is as large as, and both are to be seen. */
  dashes?: string
}

export const LOOKS: Record<Dispatch, Look> = {
  dense: { light: '#57606a', dark: '#a3adb8', symbol: 'square', sign: '■', words: 'dense: every expert' },
  sparse: { light: '#0072b2', dark: '#56b4e9', symbol: 'circle', sign: '●', words: 'sparse: rows by expert' },
  gather: {
    light: '#d55e00',
    dark: '#f0a23b',
    symbol: 'triangle',
    sign: '▲',
    words: 'gather: one assignment at a time',
  },
  'twin-active': {
    light: '#00805d',
    dark: '#3fc79a',
    symbol: 'diamond',
    sign: '◆',
    words: 'twin-active: plain feed-forward, K H wide',
    dashes: '5 3',
  },
  'twin-total': {
    light: '#a8478b',
    dark: '#e08fc0',
    symbol: 'star',
    sign: '★',
    words: 'twin-total: plain feed-forward, E H wide',
    dashes: '5 3',
  },
}

/** Parts of a sparse dispatch's time, as stacked in the picture of the gap; from Paul Tol's "muted" colours. */
export const PARTS = {
  ideal: { light: '#0072b2', dark: '#56b4e9', words: 'ideal: K/E of dense' },
  products: { light: '#882255', dark: '#c9659a', words: "experts' products beyond that" },
  router: { light: '#cc6677', dark: '#ea98a5', words: 'router' },
  grouping: { light: '#999933', dark: '#b9b94f', words: 'grouping' },
  combining: { light: '#117766', dark: '#5cc4b2', words: 'combining' },
  together: { light: '#b4b9bf', dark: '#6e7681', words: 'the whole against its parts' },
} as const
export type Part = keyof typeof PARTS

export function colourOf(name: Dispatch | Part): string {
  return `var(--${name})`
}

/** The variables of one of both pages. */
export function colourVariables(page: 'light' | 'dark'): string {
  return Object.entries({ ...LOOKS, ...PARTS })
    .map(([name, look]) => `--${name}: ${look[page]}`)
    .join('; ')
}
