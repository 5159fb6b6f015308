/** A 32-bit hash of a text: FNV-1a with murmur3's final mix, so that near-equal texts land far apart. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The whole state of a `Random`: four 32-bit words. Plain JSON, so a training checkpoint can hold it. */
export type RandomState = [number, number, number, number]

/** A seeded generator (sfc32): the same seed gives the same draws on every machine. */
export class Random {
  private words: RandomState

  constructor(seed: number | string) {
    const key = String(seed)
    this.words = [hash32(`${key}/a`), hash32(`${key}/b`), hash32(`${key}/c`), 1]
    // sfc32 needs some steps before its three words have mixed
    for (let i = 0; i < 12; i++) this.next()
  }

  /** A generator that goes on where the one that gave `state` stood. */
  static fromState(state: RandomState): Random {
    const random = new Random(0)
    random.words = [...state]
    return random
  }

  /** A copy of the state, to be stored and given to `fromState`. */
  get state(): RandomState {
    return [...this.words]
  }

  /** The next 32 bits. */
  next(): number {
    const [a, b, c, counter] = this.words
    const result = (a + b + counter) | 0
    this.words = [
      b ^ (b >>> 9),
      (c + (c << 3)) | 0,
      (((c << 21) | (c >>> 11)) + result) | 0,
      (counter + 1) | 0,
    ]
    return result >>> 0
  }

  /** A number in [0, 1). */
  float(): number {
    return this.next() / 2 ** 32
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.float() * (high - low + 1))
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.float() < probability
  }

  /** One of the items, all equally likely. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error('Random.pick needs at least one item')
    return items[this.int(0, items.length - 1)]
  }

  /** A key of `weights`, each as likely as its weight. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries<number>(weights) as [K, number][]
    const total = entries.reduce((sum, [, weight]) => sum + weight, 0)
    if (!(total > 0)) throw new Error('Random.weighted needs a positive weight')
    let rest = this.float() * total
    for (const [key, weight] of entries) {
      rest -= weight
      if (rest < 0) return key
    }
    return entries.findLast(([, weight]) => weight > 0)![0]
  }

  /** A shuffled copy (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const result = [...items]
    for (let i = result.length - 1; i > 0; i--) {
      const j = this.int(0, i)
      const held = result[i]
      result[i] = result[j]
      result[j] = held
    }
    return result
  }

  /** A draw from the standard normal distribution (Box-Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.float()))
    return radius * Math.cos(2 * Math.PI * this.float())
  }
}
