import { broadcast_util } from '@tensorflow/tfjs-core'

/** One matrix product that ran: `batch` products [m, k] x [k, n]. */
export interface Matmul {
  op: string
  batch: number
  m: number
  k: number
  n: number
}

/** A multiply-add counts 2; a product without rows counts 0. */
export function flopsOf({ batch, m, k, n }: Matmul): number {
  return 2 * batch * m * k * n
}

/** Which attributes of a TensorFlow op transpose its operands. */
const TRANSPOSES: Record<string, { a: string; b: string }> = {
  MatMul: { a: 'transpose_a', b: 'transpose_b' },
  _FusedMatMul: { a: 'transpose_a', b: 'transpose_b' },
  BatchMatMul: { a: 'adj_x', b: 'adj_y' },
  BatchMatMulV2: { a: 'adj_x', b: 'adj_y' },
  BatchMatMulV3: { a: 'adj_x', b: 'adj_y' },
}

/**
 * Whether a TensorFlow op is a matrix product that `tensorflowMatmul` can count.
 * @throws Error for one that looks like a product and is not known
 */
export function isMatmul(op: string): boolean {
  if (op in TRANSPOSES || op === 'Einsum') return true
  if (/matmul/i.test(op))
    throw new Error(`countMatmulFlops: the op ${op} is not known, its FLOPs would be missed`)
  return false
}

/** The product that a TensorFlow op (`isMatmul`) makes of operands of these shapes. */
export function tensorflowMatmul(
  op: string,
  attribute: (name: string) => unknown,
  shapes: readonly (readonly number[])[],
): Matmul {
  if (op === 'Einsum') return einsumOf(String(attribute('equation')), shapes)
  const { a, b } = TRANSPOSES[op]
  return matmulOf(op, shapes[0], shapes[1], attribute(a) === true, attribute(b) === true)
}

/** Shapes [..., rows, columns] with leading dimensions broadcast. */
export function matmulOf(
  op: string,
  a: readonly number[],
  b: readonly number[],
  transposeA: boolean,
  transposeB: boolean,
): Matmul {
  const [aRows, aColumns] = a.slice(-2)
  const [bRows, bColumns] = b.slice(-2)
  const batch = broadcast_util.assertAndGetBroadcastShape(a.slice(0, -2), b.slice(0, -2))
  return {
    op,
    batch: batch.reduce((product, n) => product * n, 1),
    m: transposeA ? aColumns : aRows,
    k: transposeA ? aRows : aColumns,
    n: transposeB ? bRows : bColumns,
  }
}

/** Two operands: an index in both and in the result is batch, in both only is summed, in one only is a row or column. */
export function einsumOf(equation: string, shapes: readonly (readonly number[])[]): Matmul {
  const [operands, result] = equation.replaceAll(' ', '').split('->')
  const [a, b] = operands.split(',')
  if (shapes.length !== 2 || b === undefined || result === undefined || equation.includes('.')) {
    throw new Error(
      `countMatmulFlops: einsum "${equation}" is not a product of two operands with named indices`,
    )
  }
  const size = new Map<string, number>()
  ;[a, b].forEach((names, i) => {
    for (const [d, name] of [...names].entries()) size.set(name, shapes[i][d])
  })
  const matmul: Matmul = { op: 'Einsum', batch: 1, m: 1, k: 1, n: 1 }
  for (const [name, n] of size) {
    const shared = a.includes(name) && b.includes(name)
    const kept = result.includes(name)
    matmul[shared ? (kept ? 'batch' : 'k') : a.includes(name) ? 'm' : 'n'] *= n
  }
  return matmul
}
