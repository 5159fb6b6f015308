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

function fromHsl(hue: number, saturation: number, lightness: number): string {
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12
    const a = saturation * Math.min(lightness, 1 - lightness)
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))))
  }
  return `#${[0, 8, 4].map((n) => channel(n).toString(16).padStart(2, '0')).join('')}`
}
