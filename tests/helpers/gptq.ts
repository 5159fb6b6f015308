import type { Groups } from '../../src/backend/holding.ts'
import { CUTS } from '../../src/checkpoint/groups.ts'
import { rounded } from './held.ts'
import type { Matrix } from './reference.ts'

/**
 * GPTQ of a matrix's rows as the paper has it (Frantar et al. 2022, arXiv 2210.17323, section 3): of the inputs' second moments A the
 * inverse; a number is rounded, its error is made up for by all that are left, and it leaves the inverse. A group's scale is, of those
 * that are tried, the one that moves outputs least.
 */
export function gptqReference(rows: Matrix, A: Matrix, { bits, group }: Groups): Matrix {
  const inverse = inverseOf(A)
  return rows.map((row) => {
    let state = { numbers: [...row], inverse, moved: 0 }
    for (let begin = 0; begin < row.length; begin += group) {
      const largest = Math.max(...state.numbers.slice(begin, begin + group).map(Math.abs))
      const tried = CUTS[bits].map((cut) => {
        const [scale] = rounded(Float32Array.of((largest * cut) / (2 ** (bits - 1) - 0.5)), 'bfloat16')
        return roundGroup(state, begin, begin + group, scale, bits)
      })
      state = tried.reduce((best, each) => (each.moved < best.moved ? each : best))
    }
    return state.numbers
  })
}

function roundGroup(
  before: { numbers: number[]; inverse: Matrix },
  begin: number,
  end: number,
  scale: number,
  bits: number,
) {
  const numbers = [...before.numbers]
  const inverse = before.inverse.map((each) => [...each])
  const zero = 2 ** (bits - 1)
  let moved = 0
  for (let i = begin; i < end; i++) {
    const wanted = numbers[i]
    numbers[i] = scale === 0 ? 0 : scale * Math.min(Math.max(Math.round(wanted / scale), -zero), zero - 1)
    const [error, own, pivot] = [wanted - numbers[i], [...inverse[i]], inverse[i][i]]
    moved += error ** 2 / pivot
    for (let j = i + 1; j < numbers.length; j++) {
      numbers[j] -= (error / pivot) * own[j]
      for (let k = i + 1; k < numbers.length; k++) inverse[j][k] -= (own[j] * own[k]) / pivot
    }
  }
  return { numbers, inverse, moved }
}

/** By Gauss and Jordan; A is symmetric and positive definite, so no pivot is zero. */
function inverseOf(A: Matrix): Matrix {
  const n = A.length
  const rows = A.map((row, i) => [...row, ...row.map((_, k) => Number(i === k))])
  for (let i = 0; i < n; i++) {
    const pivot = rows[i][i]
    rows[i] = rows[i].map((value) => value / pivot)
    for (let j = 0; j < n; j++) {
      const times = rows[j][i]
      if (j !== i) rows[j] = rows[j].map((value, k) => value - times * rows[i][k])
    }
  }
  return rows.map((row) => row.slice(n))
}

/** Second moments of rows, with what is added to each square (as a share of their mean). */
export function dampedMoments(rows: Matrix, damping = 0.01): Matrix {
  const n = rows[0].length
  const A = Array.from({ length: n }, () => new Array<number>(n).fill(0))
  for (const x of rows) for (let i = 0; i < n; i++) for (let k = 0; k < n; k++) A[i][k] += x[i] * x[k]
  const mean = A.reduce((sum, row, i) => sum + row[i], 0) / n
  return A.map((row, i) => row.map((value, k) => (i === k ? value + (damping * mean || 1) : value)))
}
