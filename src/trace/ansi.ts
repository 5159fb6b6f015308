import { expertColour } from './colours.ts'

/** How many colours a terminal has, as bits: none, 16, 256 or all. */
export type ColourDepth = 0 | 4 | 8 | 24

/** Writes text in an expert's colour. */
export function painted(text: string, expert: number, depth: ColourDepth): string {
  if (depth === 0) return text
  return `\x1b[${colourCode(expert, depth)}m${text}\x1b[39m`
}

export function bold(text: string, depth: ColourDepth): string {
  return depth === 0 ? text : `\x1b[1m${text}\x1b[22m`
}

export function dim(text: string, depth: ColourDepth): string {
  return depth === 0 ? text : `\x1b[2m${text}\x1b[22m`
}

function colourCode(expert: number, depth: 4 | 8 | 24): string {
  const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(expertColour(expert).slice(at, at + 2), 16))
  if (depth === 24) return `38;2;${r};${g};${b}`
  if (depth === 8) {
    // the 6 x 6 x 6 cube of xterm's palette
    const [R, G, B] = [r, g, b].map((x) => Math.round((x / 255) * 5))
    return `38;5;${16 + 36 * R + 6 * G + B}`
  }
  return String([94, 33, 32, 91, 95, 93, 35, 36, 34, 31, 92, 96][expert % 12])
}
