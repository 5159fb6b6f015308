import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeBf16, decodeF16, encodeBf16, encodeF16, f16Table } from '../../src/checkpoint/dtype.ts'

const bitsOf = (values: number[]) => new Uint32Array(new Float32Array(values).buffer)
const table = f16Table()

function toHalf(...values: number[]): number[] {
  const half = new Uint16Array(values.length)
  encodeF16(bitsOf(values), half)
  return [...half]
}

function toBf16(...values: number[]): number[] {
  const half = new Uint16Array(values.length)
  encodeBf16(bitsOf(values), half)
  return [...half]
}

function fromHalf(...half: number[]): number[] {
  const bits = new Uint32Array(half.length)
  decodeF16(Uint16Array.from(half), bits, 0, table)
  return [...new Float32Array(bits.buffer)]
}

describe('F16', () => {
  test('decodes what IEEE 754 binary16 says', () => {
    // Wikipedia, "Half-precision floating-point format", examples
    expect(fromHalf(0x3c00, 0xc000, 0x7bff, 0x3555)).toEqual([1, -2, 65504, 0.333251953125])
    expect(fromHalf(0x0001, 0x03ff, 0x0400)).toEqual([2 ** -24, 1023 * 2 ** -24, 2 ** -14])
    expect(fromHalf(0x0000, 0x8000, 0x8001)).toEqual([0, -0, -(2 ** -24)])
    expect(fromHalf(0x7c00, 0xfc00, 0x7e00)).toEqual([Infinity, -Infinity, NaN])
  })

  test('every bit pattern comes back from decoding and encoding', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
    const bits = new Uint32Array(65536)
    decodeF16(all, bits, 0, table)
    const back = new Uint16Array(65536)
    encodeF16(bits, back)
    // A signalling NaN comes back quiet: bit 9 set.
    const isNan = (half: number) => (half & 0x7fff) > 0x7c00
    expect([...back]).toEqual([...all].map((half) => (isNan(half) ? half | 0x200 : half)))
  })

  test('rounds to nearest, ties to even, at every edge', () => {
    expect(toHalf(1 + 2 ** -11, 1 + 3 * 2 ** -11)).toEqual([0x3c00, 0x3c02])
    expect(toHalf(1 + 2 ** -11 + 2 ** -23)).toEqual([0x3c01])
    expect(toHalf(65519.996, 65520, -65520, 1e30)).toEqual([0x7bff, 0x7c00, 0xfc00, 0x7c00])
    expect(toHalf(2 ** -25, 2 ** -25 + 2 ** -48, 3 * 2 ** -25, -(2 ** -26))).toEqual([0, 1, 2, 0x8000])
    expect(toHalf(2 ** -14 - 2 ** -25)).toEqual([0x0400]) // the largest subnormal rounds up into the normals
    expect(toHalf(2 ** -149, -0, NaN)).toEqual([0, 0x8000, 0x7e00])
  })

  test('encodes to the nearest of all half-precision numbers', () => {
    const finite = [...new Float32Array(table.buffer)].filter((value) => Number.isFinite(value))
    fc.assert(
      fc.property(fc.float({ min: -65504, max: 65504, noNaN: true }), (value) => {
        const [rounded] = fromHalf(...toHalf(value))
        const distance = finite.reduce((best, other) => Math.min(best, Math.abs(other - value)), Infinity)
        expect(Math.abs(rounded - value)).toBe(distance)
      }),
      { numRuns: 50 },
    )
  })
})

describe('BF16', () => {
  test('every bit pattern comes back from decoding and encoding', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i)
    const bits = new Uint32Array(65536)
    decodeBf16(all, bits, 0)
    const back = new Uint16Array(65536)
    encodeBf16(bits, back)
    const isNan = (half: number) => (half & 0x7fff) > 0x7f80
    expect([...back]).toEqual([...all].map((half) => (isNan(half) ? half | 0x40 : half)))
  })

  test('rounds to nearest, ties to even', () => {
    expect(toBf16(1, -2, Infinity)).toEqual([0x3f80, 0xc000, 0x7f80])
    expect(toBf16(1 + 2 ** -8, 1 + 3 * 2 ** -8)).toEqual([0x3f80, 0x3f82])
    expect(toBf16(1 + 2 ** -8 + 2 ** -23)).toEqual([0x3f81])
    expect(toBf16(3.4028235e38)).toEqual([0x7f80]) // the largest float32 is nearer to 2^128
  })
})
