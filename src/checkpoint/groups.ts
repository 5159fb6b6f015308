import type { Groups } from '../backend/holding.ts'
import { decodeBf16, encodeBf16 } from './dtype.ts'

/** A matrix as whole numbers in groups along its rows. */
export interface GroupedMatrix {
  /** Of 8 or 4 bits, packed: the first in the low bits, each more by half their range than it stands for. */
  numbers: Uint8Array
  /** bfloat16, a group each. */
  scales: Uint16Array
  /** Sum of the squared differences from the numbers, and of their squares. */
  squaredError: number
  squares: number
}

/** What a group's largest number may be cut to, as shares of it: smaller steps for all the others. Of 8 bits none gains anything. */
const CUTS = { 8: [1], 4: [1, 0.96, 0.92, 0.88, 0.84, 0.8, 0.76, 0.72] } as const

/**
 * Rounds a matrix [out, in] to whole numbers of 8 or 4 bits in groups of `group` along its rows. A group's scale is the one of a few
 * that leaves the smallest squared error; `cuts` of only 1 is rounding to nearest.
 */
export function inGroups(
  values: Float32Array,
  { bits, group }: Groups,
  cuts: readonly number[] = CUTS[bits],
): GroupedMatrix {
  const count = values.length / group
  const numbers = new Uint8Array((values.length * bits) / 8)
  const scales = new Uint16Array(count)
  const zero = 2 ** (bits - 1)
  let [squaredError, squares] = [0, 0]
  for (let g = 0; g < count; g++) {
    const part = values.subarray(g * group, (g + 1) * group)
    let largest = 0
    for (let i = 0; i < group; i++) largest = Math.max(largest, Math.abs(part[i]))
    let [least, scale] = [Number.POSITIVE_INFINITY, 0]
    for (const cut of cuts) {
      const tried = roundedScale((largest * cut) / (zero - 0.5))
      const error = errorOf(part, tried.scale, zero)
      if (error >= least) continue
      least = error
      scale = tried.scale
      scales[g] = tried.bits
    }
    squaredError += least
    for (let i = 0; i < group; i++) {
      const at = (g * group + i) * bits
      squares += part[i] * part[i]
      numbers[at >> 3] |= (whole(part[i], scale, zero) + zero) << (at & 7)
    }
  }
  return { numbers, scales, squaredError, squares }
}

/** Added and taken away again, it leaves a whole number. */
const WHOLE = 1.5 * 2 ** 52

/** The number of -zero to zero - 1 that times the scale is nearest. */
function whole(value: number, scale: number, zero: number): number {
  if (scale === 0) return 0
  const nearest = value / scale + WHOLE - WHOLE
  return nearest < -zero ? -zero : nearest > zero - 1 ? zero - 1 : nearest
}

function errorOf(part: Float32Array, scale: number, zero: number): number {
  let sum = 0
  for (let i = 0; i < part.length; i++) {
    const off = part[i] - whole(part[i], scale, zero) * scale
    sum += off * off
  }
  return sum
}

function roundedScale(scale: number): { bits: number; scale: number } {
  const [bits, wide] = [new Uint16Array(1), new Uint32Array(1)]
  encodeBf16(new Uint32Array(Float32Array.of(scale).buffer), bits)
  decodeBf16(bits, wide, 0)
  return { bits: bits[0], scale: new Float32Array(wide.buffer)[0] }
}
