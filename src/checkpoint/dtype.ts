/** Bits of one element, for every dtype name the format knows (safetensors 0.8, `enum Dtype`). */
export const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ['BOOL', 8],
  ['F4', 4],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['U8', 8],
  ['I8', 8],
  ['F8_E5M2', 8],
  ['F8_E4M3', 8],
  ['F8_E8M0', 8],
  ['F8_E4M3FNUZ', 8],
  ['F8_E5M2FNUZ', 8],
  ['I16', 16],
  ['U16', 16],
  ['F16', 16],
  ['BF16', 16],
  ['I32', 32],
  ['U32', 32],
  ['F32', 32],
  ['C64', 64],
  ['F64', 64],
  ['I64', 64],
  ['U64', 64],
])

/** The dtypes that are read as, and written from, float32. */
export type FloatDtype = 'F32' | 'F16' | 'BF16'

/** As PyTorch's users say them. */
export const FLOAT_DTYPES = { bf16: 'BF16', f16: 'F16', f32: 'F32' } as const satisfies Record<
  string,
  FloatDtype
>
export type FloatDtypeName = keyof typeof FLOAT_DTYPES

export function isFloatDtype(dtype: string): dtype is FloatDtype {
  return dtype === 'F32' || dtype === 'F16' || dtype === 'BF16'
}

/** Bytes of one element. */
export function floatBytes(dtype: FloatDtype): number {
  return dtype === 'F32' ? 4 : 2
}

/** bfloat16 bits to float32 bits: `target[at + i]` from `source[i]`. */
export function decodeBf16(source: Uint16Array, target: Uint32Array, at: number): void {
  for (let i = 0; i < source.length; i++) target[at + i] = source[i] << 16
}

/** The float32 bits of all 65,536 half-precision numbers (IEEE 754 binary16), subnormal, infinite and NaN included. */
export function f16Table(): Uint32Array {
  const table = new Uint32Array(65536)
  const floats = new Float32Array(table.buffer)
  for (let half = 0; half < 65536; half++) {
    const sign = (half & 0x8000) << 16
    const exponent = (half >> 10) & 0x1f
    const mantissa = half & 0x3ff
    if (exponent === 0) {
      floats[half] = mantissa * 2 ** -24
      table[half] |= sign
    } else {
      const exponent32 = exponent === 31 ? 255 : exponent + 112 // 127 - 15
      table[half] = sign | (exponent32 << 23) | (mantissa << 13)
    }
  }
  return table
}

/** Half-precision bits to float32 bits: `target[at + i]` from `source[i]`, with the table of `f16Table`. */
export function decodeF16(source: Uint16Array, target: Uint32Array, at: number, table: Uint32Array): void {
  for (let i = 0; i < source.length; i++) target[at + i] = table[source[i]]
}

/** float32 bits to bfloat16 bits, to nearest, ties to even. */
export function encodeBf16(source: Uint32Array, target: Uint16Array): void {
  for (let i = 0; i < source.length; i++) {
    const bits = source[i]
    const isNan = (bits & 0x7fffffff) > 0x7f800000
    // Rounding could carry a NaN into infinity, so a NaN keeps its upper half and is made quiet.
    target[i] = isNan ? (bits >>> 16) | 0x40 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
  }
}

/** float32 bits to half-precision bits, to nearest, ties to even; beyond 65,519 infinite. */
export function encodeF16(source: Uint32Array, target: Uint16Array): void {
  for (let i = 0; i < source.length; i++) target[i] = f16Bits(source[i])
}

function f16Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000
  const magnitude = bits & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff)
  if (magnitude >= 0x477ff000) return sign | 0x7c00 // 65520, half way to the number after the largest
  if (magnitude >= 0x38800000) {
    // Normal, 2^-14 and up: the exponent's bias changes, 13 bits of mantissa go. A carry into the exponent is right.
    const rebiased = magnitude - (112 << 23)
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13)
  }
  if (magnitude <= 0x33000000) return sign // 2^-25, half the smallest subnormal: a tie, to even
  // Subnormal: a count of 2^-24.
  const mantissa = (magnitude & 0x7fffff) | 0x800000
  const shift = 126 - (magnitude >>> 23)
  const half = 1 << (shift - 1)
  return sign | ((mantissa + half - 1 + ((mantissa >>> shift) & 1)) >>> shift)
}
