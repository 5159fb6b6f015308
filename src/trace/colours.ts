import { WriteStream } from 'node:tty'

/** How many colours a terminal has, as bits: none, 16, 256 or all. */
export type ColourDepth = 0 | 4 | 8 | 24

/**
 * Colours a stream gets: none with NO_COLOR (no-color.org), those that FORCE_COLOR says whatever the stream, else those
 * of the terminal, and none where there is no terminal.
 */
export function colourDepth(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): ColourDepth {
  if (env.NO_COLOR) return 0
  const forced = env.FORCE_COLOR !== undefined
  if (!forced && (!stream.isTTY || env.TERM === 'dumb')) return 0
  if (forced && /^(0|false)$/.test(env.FORCE_COLOR ?? '')) return 0
  const depth = WriteStream.prototype.getColorDepth(env)
  return depth === 1 ? (forced ? 4 : 0) : (depth as ColourDepth)
}

/** Colours of the first experts, told apart on white and on black. */
const FIRST = ['#3b82f6', '#f97316', '#22a55b', '#ef4444', '#a66bf0', '#c78a1b', '#e0529c', '#14a3b8']

/** Hues this many degrees apart (the golden angle) stay apart for any number of experts. */
const GOLDEN_ANGLE = 137.508

/** An expert's colour as #rrggbb, the same in the terminal, in pictures and on pages. */
export function expertColour(expert: number): string {
  if (expert < FIRST.length) return FIRST[expert]
  const lightness = 0.48 + 0.12 * (expert % 2)
  return fromHsl((expert * GOLDEN_ANGLE) % 360, 0.6, lightness)
}

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

function fromHsl(hue: number, saturation: number, lightness: number): string {
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12
    const a = saturation * Math.min(lightness, 1 - lightness)
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))))
  }
  return `#${[0, 8, 4].map((n) => channel(n).toString(16).padStart(2, '0')).join('')}`
}
