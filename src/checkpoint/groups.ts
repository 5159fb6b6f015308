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
export const CUTS = { 8: [1], 4: [1, 0.94, 0.88, 0.82, 0.76] } as const

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
  const scales = new Float32Array(count)
  const part = new Float64Array(group)
  const nearest = NEAREST[bits]
  const zero = 2 ** (bits - 1)
  let [squaredError, squares] = [0, 0]
  for (let g = 0; g < count; g++) {
    const from = g * group
    let largest = 0
    for (let i = 0; i < group; i++) {
      const value = values[from + i]
      part[i] = value
      squares += value * value
      if (Math.abs(value) > largest) largest = Math.abs(value)
    }
    let [least, chosen] = [Number.POSITIVE_INFINITY, 0]
    for (const cut of cuts) {
      const scale = roundedScale((largest * cut) / (zero - 0.5))
      const error = errorOf(part, scale, nearest)
      if (error >= least) continue
      least = error
      chosen = scale
    }
    squaredError += least
    scales[g] = chosen
    const [inverse, middle] = [inverseOf(chosen), nearest.length / 2 + 0.5]
    for (let i = 0; i < group; i++) {
      const at = (from + i) * bits
      numbers[at >> 3] |= (nearest[(part[i] * inverse + middle) | 0] + zero) << (at & 7)
    }
  }
  const bfloat16 = new Uint16Array(count)
  encodeBf16(new Uint32Array(scales.buffer), bfloat16) // they are such numbers already
  return { numbers, scales: bfloat16, squaredError, squares }
}

/** What packed numbers stand for. */
export function fromGroups(
  numbers: Uint8Array,
  scales: Float32Array,
  { bits, group }: Groups,
  values: Float32Array,
): void {
  const perByte = 8 / bits
  const [mask, zero] = [2 ** bits - 1, 2 ** (bits - 1)]
  for (let i = 0; i < values.length; i++) {
    const byte = numbers[Math.floor(i / perByte)]
    const whole = ((byte >> (bits * (i % perByte))) & mask) - zero
    values[i] = whole * scales[Math.floor(i / group)]
  }
}

/** The same of a matrix that was rounded. */
export function groupedValues({ numbers, scales }: GroupedMatrix, groups: Groups): Float32Array {
  const wide = new Uint32Array(scales.length)
  decodeBf16(scales, wide, 0)
  const values = new Float32Array((numbers.length * 8) / groups.bits)
  fromGroups(numbers, new Float32Array(wide.buffer), groups, values)
  return values
}

/** For each whole number from -2 zero to 2 zero - 1 the nearest of those that there are: a look-up spares branches that cannot be foreseen. */
function nearestNumbers(bits: number): Float64Array {
  const zero = 2 ** (bits - 1)
  return Float64Array.from({ length: 4 * zero }, (_, i) => Math.min(Math.max(i - 2 * zero, -zero), zero - 1))
}

export const NEAREST = { 8: nearestNumbers(8), 4: nearestNumbers(4) } as const

function errorOf(part: Float64Array, scale: number, nearest: Float64Array): number {
  const [inverse, middle] = [inverseOf(scale), nearest.length / 2 + 0.5]
  let sum = 0
  for (let i = 0; i < part.length; i++) {
    const off = part[i] - nearest[(part[i] * inverse + middle) | 0] * scale
    sum += off * off
  }
  return sum
}

function inverseOf(scale: number): number {
  return scale === 0 ? 0 : 1 / scale
}

/** Times this, less what that is more than the number: its first 8 bits, to nearest (Dekker 1971). */
const SPLIT = 2 ** 45 + 1
/** Below it bfloat16 has fewer bits: a group of such numbers is zeros. */
const SMALLEST = 2 ** -126

/** The bfloat16 that is nearest. */
export function roundedScale(scale: number): number {
  if (scale < SMALLEST) return 0
  const much = scale * SPLIT
  return much - (much - scale)
}
