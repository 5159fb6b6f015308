/** Random numbers of a run: the state is this object's own, so one seed gives one text, whatever else draws numbers. */
export interface Random {
  /** Uniform in [0, 1), with 53 random bits. */
  uniform(): number
}

/**
 * xoshiro128** 1.1 by Blackman and Vigna (https://prng.di.unimi.it/xoshiro128starstar.c): 32-bit words only, so every
 * JavaScript engine gives the same numbers.
 */
export class Xoshiro128 implements Random {
  private readonly state: Uint32Array

  /** @param state four 32-bit words, not all zero */
  constructor(state: readonly number[]) {
    this.state = Uint32Array.from(state)
  }

  /** A state from one whole number of up to 53 bits, as the authors advise: two outputs of SplitMix64. */
  static fromSeed(seed: number): Xoshiro128 {
    const [a, b] = splitMix64(BigInt(seed), 2)
    return new Xoshiro128([a, a >> 32n, b, b >> 32n].map((word) => Number(word & 0xffffffffn)))
  }

  /** The next 32 bits, unsigned. */
  next(): number {
    const s = this.state
    const result = Math.imul(rotateLeft(Math.imul(s[1], 5), 7), 9) >>> 0
    const t = s[1] << 9
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = rotateLeft(s[3], 11)
    return result
  }

  uniform(): number {
    const high = this.next() >>> 5 // 27 bits
    const low = this.next() >>> 6 // 26 bits
    return (high * 2 ** 26 + low) / 2 ** 53
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits))
}

/** The first outputs of SplitMix64 (https://prng.di.unimi.it/splitmix64.c) from a seed. */
export function splitMix64(seed: bigint, count: number): bigint[] {
  let state = seed
  return Array.from({ length: count }, () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n)
    let z = state
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    return z ^ (z >> 31n)
  })
}
