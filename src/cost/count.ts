import * as tf from '@tensorflow/tfjs-core'
import type { OpAttribute, TensorflowBackend } from '../runtime/tensorflow-ops.ts'

/** One matrix product that ran: `batch` products [m, k] x [k, n]. */
export interface Matmul {
  op: string
  batch: number
  m: number
  k: number
  n: number
}

export interface MatmulCount<T> {
  result: T
  /** A multiply-add counts 2; a product without rows counts 0. */
  flops: number
  matmuls: Matmul[]
}

/**
 * Runs `f` and counts the matrix products that it really caused, with their actual shapes: on TensorFlow the ops sent to
 * the library, elsewhere the kernels that tfjs runs. What it does not count is what src/cost/flops.ts leaves out.
 * Calls may nest. `f` has to be synchronous, or its later work would be missed.
 */
export function countMatmulFlops<T>(f: () => T): MatmulCount<T> {
  const matmuls: Matmul[] = []
  const restore = tf.getBackend() === 'tensorflow' ? watchTensorflow(matmuls) : watchKernels(matmuls)
  try {
    const result = f()
    if (result instanceof Promise) throw new Error('countMatmulFlops: the function is asynchronous')
    return { result, flops: matmuls.reduce((sum, matmul) => sum + flopsOf(matmul), 0), matmuls }
  } finally {
    restore()
  }
}

function flopsOf({ batch, m, k, n }: Matmul): number {
  return 2 * batch * m * k * n
}

/** Which attributes of a TensorFlow op transpose its operands. */
const TENSORFLOW_MATMULS: Record<string, { a: string; b: string }> = {
  MatMul: { a: 'transpose_a', b: 'transpose_b' },
  _FusedMatMul: { a: 'transpose_a', b: 'transpose_b' },
  BatchMatMul: { a: 'adj_x', b: 'adj_y' },
  BatchMatMulV2: { a: 'adj_x', b: 'adj_y' },
  BatchMatMulV3: { a: 'adj_x', b: 'adj_y' },
}

function watchTensorflow(matmuls: Matmul[]): () => void {
  const backend = tf.backend() as unknown as TensorflowBackend
  const inspect = (op: string, attributes: OpAttribute[], inputs: tf.Tensor[]) => {
    const matmul = tensorflowMatmul(op, attributes, inputs)
    if (matmul) matmuls.push(matmul)
  }
  const restores = [
    replace(backend, 'executeSingleOutput', (original) => (op, attributes, inputs) => {
      inspect(op, attributes, inputs)
      return original(op, attributes, inputs)
    }),
    replace(backend, 'executeMultipleOutputs', (original) => (op, attributes, inputs, count) => {
      inspect(op, attributes, inputs)
      return original(op, attributes, inputs, count)
    }),
  ]
  return () => {
    for (const restore of restores) restore()
  }
}

function tensorflowMatmul(op: string, attributes: OpAttribute[], inputs: tf.Tensor[]): Matmul | null {
  const attribute = (name: string) => attributes.find((a) => a.name === name)?.value
  const transposes = TENSORFLOW_MATMULS[op]
  if (transposes) {
    const [a, b] = inputs
    return matmulOf(op, a.shape, b.shape, attribute(transposes.a) === true, attribute(transposes.b) === true)
  }
  if (op === 'Einsum') return einsumOf(String(attribute('equation')), inputs)
  if (/matmul/i.test(op))
    throw new Error(`countMatmulFlops: the op ${op} is not known, its FLOPs would be missed`)
  return null
}

function watchKernels(matmuls: Matmul[]): () => void {
  return replace(
    tf.engine(),
    'runKernel',
    (original) =>
      ((name, inputs, attributes) => {
        const { a, b } = inputs as Record<string, tf.Tensor>
        const { transposeA, transposeB, equation } = (attributes ?? {}) as Record<string, unknown>
        if (name === tf.BatchMatMul || name === tf._FusedMatMul) {
          matmuls.push(matmulOf(name, a.shape, b.shape, transposeA === true, transposeB === true))
        }
        if (name === tf.Einsum) matmuls.push(einsumOf(String(equation), Object.values(inputs) as tf.Tensor[]))
        return original(name, inputs, attributes)
      }) as typeof original,
  )
}

/** Shapes [..., rows, columns] with leading dimensions broadcast. */
function matmulOf(op: string, a: number[], b: number[], transposeA: boolean, transposeB: boolean): Matmul {
  const [aRows, aColumns] = a.slice(-2)
  const [bRows, bColumns] = b.slice(-2)
  const batch = tf.broadcast_util.assertAndGetBroadcastShape(a.slice(0, -2), b.slice(0, -2))
  return {
    op,
    batch: batch.reduce((product, n) => product * n, 1),
    m: transposeA ? aColumns : aRows,
    k: transposeA ? aRows : aColumns,
    n: transposeB ? bRows : bColumns,
  }
}

/** Two operands: an index in both and in the result is batch, in both only is summed, in one only is a row or column. */
function einsumOf(equation: string, inputs: tf.Tensor[]): Matmul {
  const [operands, result] = equation.replaceAll(' ', '').split('->')
  const [a, b] = operands.split(',')
  if (inputs.length !== 2 || b === undefined || result === undefined || equation.includes('.')) {
    throw new Error(
      `countMatmulFlops: einsum "${equation}" is not a product of two operands with named indices`,
    )
  }
  const size = new Map<string, number>()
  ;[a, b].forEach((names, i) => {
    for (const [d, name] of [...names].entries()) size.set(name, inputs[i].shape[d])
  })
  const matmul: Matmul = { op: 'Einsum', batch: 1, m: 1, k: 1, n: 1 }
  for (const [name, n] of size) {
    const shared = a.includes(name) && b.includes(name)
    const kept = result.includes(name)
    matmul[shared ? (kept ? 'batch' : 'k') : a.includes(name) ? 'm' : 'n'] *= n
  }
  return matmul
}

/** Replaces a method until the returned function is called; the method is then as it was, own or inherited. */
function replace<T extends object, M extends keyof T>(
  object: T,
  method: M,
  wrap: (original: T[M]) => T[M],
): () => void {
  const own = Object.getOwnPropertyDescriptor(object, method)
  object[method] = wrap((object[method] as (...args: unknown[]) => unknown).bind(object) as T[M])
  return () => {
    if (own) Object.defineProperty(object, method, own)
    else delete object[method]
  }
}
