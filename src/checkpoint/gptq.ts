import type { Groups } from '../backend/holding.ts'
import { encodeBf16 } from './dtype.ts'
import { CUTS, type GroupedMatrix, NEAREST, roundedScale } from './groups.ts'

/** What is added to each input's square, as a share of their mean: as in the paper, and it keeps few inputs from deciding all. */
const DAMPING = 0.01

/** How errors of a row reach its output: L of L^T L = the inputs' second moments [n, n], damped. Lower triangular, row-major. */
export interface ErrorFactor {
  numbers: Float64Array
  n: number
}

/** The factor of second moments, row-major: of inputs x the sum of x x^T, however many there were. */
export function errorFactor(moments: Float32Array | Float64Array, n: number): ErrorFactor {
  const numbers = Float64Array.from(moments)
  let trace = 0
  for (let i = 0; i < n; i++) trace += moments[i * n + i]
  const damping = (DAMPING * trace) / n || 1
  for (let i = 0; i < n; i++) numbers[i * n + i] += damping
  for (let j = n - 1; j >= 0; j--) {
    const own = numbers.subarray(j * n, j * n + n)
    const pivot = Math.sqrt(Math.max(own[j], damping)) // it is no less, but for rounding
    own.fill(0, j + 1)
    for (let i = 0; i <= j; i++) own[i] /= pivot
    for (let i = 0; i < j; i++) {
      const [times, other] = [own[i], i * n]
      for (let k = 0; k <= i; k++) numbers[other + k] -= times * own[k]
    }
  }
  return { numbers, n }
}

/**
 * Rounds a matrix [out, in] as `inGroups` does, but number after number along a row, each so that it makes up for the errors before it:
 * GPTQ (Frantar et al. 2022, arXiv 2210.17323). Errors e of a row move its outputs by |L e|, so the number at i is rounded from
 * `w[i] + sum over k < i of L[i, k] e[k] / L[i, i]`, which is what the paper's inverse gives. A group's scale is, of those that `inGroups`
 * tries, the one that leaves the smallest |L e|.
 */
export function inGroupsFor(factor: ErrorFactor, values: Float32Array, groups: Groups): GroupedMatrix {
  const { n } = factor
  const { bits, group } = groups
  const numbers = new Uint8Array((values.length * bits) / 8)
  const scales = new Float32Array(values.length / group)
  const rounding = new GroupRounding(factor, groups)
  const errors = new Float64Array(n)
  const zero = 2 ** (bits - 1)
  let [squaredError, squares] = [0, 0]
  for (let from = 0; from < values.length; from += n) {
    for (let begin = 0; begin < n; begin += group) {
      const part = values.subarray(from + begin, from + begin + group)
      scales[(from + begin) / group] = rounding.round(part, begin, errors)
      let own = 0
      for (let i = 0; i < group; i++) {
        const [error, at] = [errors[begin + i], (from + begin + i) * bits]
        own += error * error
        squares += part[i] * part[i]
        numbers[at >> 3] |= (rounding.whole[i] + zero) << (at & 7)
      }
      squaredError += own
    }
  }
  const bfloat16 = new Uint16Array(scales.length)
  encodeBf16(new Uint32Array(scales.buffer), bfloat16) // they are such numbers already
  return { numbers, scales: bfloat16, squaredError, squares }
}

/** Rounds a row's groups, one after the other. */
class GroupRounding {
  /** The numbers of the group that was rounded last. */
  readonly whole: Float64Array
  /** Sums of L[i, k] e[k] over k before the group. */
  private readonly before: Float64Array
  /** Errors within the group. */
  private readonly own: Float64Array
  private readonly cuts: readonly number[]
  private readonly nearest: Float64Array

  constructor(
    private readonly factor: ErrorFactor,
    { bits, group }: Groups,
  ) {
    this.whole = new Float64Array(group)
    this.before = new Float64Array(group)
    this.own = new Float64Array(group)
    this.cuts = CUTS[bits]
    this.nearest = NEAREST[bits]
  }

  /** Rounds the group of a row that begins at `begin`, and puts its errors behind those of the groups before it. Returns its scale. */
  round(part: Float32Array, begin: number, errors: Float64Array): number {
    const { own } = this
    this.carry(begin, errors)
    const largest = this.largestWanted(part, begin)
    let [least, chosen] = [Number.POSITIVE_INFINITY, 0]
    for (const cut of this.cuts) {
      const scale = roundedScale((largest * cut) / (this.nearest.length / 4 - 0.5))
      const moved = this.roundBy(scale, part, begin)
      if (moved >= least) continue
      least = moved
      chosen = scale
    }
    if (this.cuts.length > 1) this.roundBy(chosen, part, begin)
    errors.set(own, begin)
    return chosen
  }

  /** What errors before the group do to each of its numbers. */
  private carry(begin: number, errors: Float64Array): void {
    const { numbers, n } = this.factor
    for (let i = 0; i < this.before.length; i++) {
      const row = (begin + i) * n
      let sum = 0
      for (let k = 0; k < begin; k++) sum += numbers[row + k] * errors[k]
      this.before[i] = sum
    }
  }

  /** The largest of the numbers that would undo the errors before the group, if they were not rounded. */
  private largestWanted(part: Float32Array, begin: number): number {
    const { own } = this
    let largest = 0
    for (let i = 0; i < part.length; i++) {
      const undone = this.undone(i, begin)
      own[i] = -undone
      largest = Math.max(largest, Math.abs(part[i] + undone))
    }
    return largest
  }

  /** How far outputs are moved, squared, by what the group adds. */
  private roundBy(scale: number, part: Float32Array, begin: number): number {
    const { own, whole, nearest } = this
    const { numbers, n } = this.factor
    const [inverse, middle] = [scale === 0 ? 0 : 1 / scale, nearest.length / 2 + 0.5]
    let moved = 0
    for (let i = 0; i < part.length; i++) {
      const wanted = part[i] + this.undone(i, begin)
      const place = Math.min(Math.max(wanted * inverse + middle, 0), nearest.length - 1) | 0
      whole[i] = nearest[place]
      own[i] = part[i] - whole[i] * scale
      const off = (wanted - whole[i] * scale) * numbers[(begin + i) * (n + 1)]
      moved += off * off
    }
    return moved
  }

  /** What the number `i` of the group has to be more, for the errors before it. */
  private undone(i: number, begin: number): number {
    const { numbers, n } = this.factor
    const row = (begin + i) * n + begin
    let sum = this.before[i]
    for (let k = 0; k < i; k++) sum += numbers[row + k] * this.own[k]
    return sum / numbers[row + i]
  }
}
