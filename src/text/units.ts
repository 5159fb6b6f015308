const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y']

/** Four digits and a decimal prefix: `si(4.194e9, 'FLOP')` is `4.194 GFLOP`. */
export function si(value: number, unit: string): string {
  const step = value < 1000 ? 0 : Math.min(PREFIXES.length - 1, Math.floor(Math.log10(value) / 3))
  return `${fourDigits(value / 1000 ** step)} ${PREFIXES[step]}${unit}`
}

/** What letters behind amounts stand for, the largest first. */
export const SIZES = { T: 1e12, B: 1e9, M: 1e6, K: 1e3 } as const

/** Parameters as they are quoted: `46.70B`, `429.5M`, `1.026T`. */
export function parametersText(value: number): string {
  const [letter, size] = Object.entries(SIZES).find(([, size]) => value >= size) ?? ['', 1]
  return `${fourDigits(value / size)}${letter}`
}

/** Four significant digits; whole numbers below 1000 as they are. */
export function fourDigits(value: number): string {
  return Number.isInteger(value) && value < 1000 ? String(value) : value.toPrecision(4)
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`
}

/** With its sign: `+0.5%`. */
export function signedPercent(share: number): string {
  const text = (100 * share).toFixed(1)
  return `${share >= 0 && !text.startsWith('-') ? '+' : ''}${text}%`
}

/** Thousands apart: `2,788,000`. */
export function thousands(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** `$5.576 million`. */
export function dollars(value: number): string {
  if (value >= 1e9) return `$${(value / 1e9).toFixed(3)} billion`
  return value >= 1e6 ? `$${(value / 1e6).toFixed(3)} million` : `$${thousands(value)}`
}

/** `1 token`, `2 tokens`. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
