import * as tf from '@tensorflow/tfjs-core'
import { replace } from '../backend/replace.ts'
import { type OpAttribute, type TfjsNode, tensorflow } from '../backend/tensorflow.ts'
import { Recorder } from '../graph/recorder.ts'
import { GraphSession } from '../graph/session.ts'
import { graphMatmuls } from './graph-matmuls.ts'
import { einsumOf, flopsOf, isMatmul, type Matmul, matmulOf, tensorflowMatmul } from './matmul.ts'

export interface MatmulCount<T> {
  result: T
  /** A multiply-add counts 2; a product without rows counts 0. */
  flops: number
  matmuls: Matmul[]
}

/**
 * Runs `f` and counts the matrix products that it really caused, with their actual shapes: on TensorFlow the ops sent to
 * the library, elsewhere the kernels that tfjs runs. Of a recorded graph it counts what each run multiplies, by fetching the
 * operands too; the eager run that records a graph is no work of the call and not counted. What it leaves out is what
 * src/cost/flops.ts leaves out. Calls may nest. `f` has to be synchronous, or its later work would be missed.
 */
export function countMatmulFlops<T>(f: () => T): MatmulCount<T> {
  const matmuls: Matmul[] = []
  const node = tensorflow()
  const restore = node ? watchTensorflow(node, matmuls) : watchKernels(matmuls)
  try {
    const result = f()
    if (result instanceof Promise) throw new Error('countMatmulFlops: the function is asynchronous')
    return { result, flops: matmuls.reduce((sum, matmul) => sum + flopsOf(matmul), 0), matmuls }
  } finally {
    restore()
  }
}

function watchTensorflow(backend: TfjsNode, matmuls: Matmul[]): () => void {
  let recording = false
  const inspect = (op: string, attributes: OpAttribute[], inputs: tf.Tensor[]) => {
    if (recording || !isMatmul(op)) return
    const attribute = (name: string) => attributes.find((a) => a.name === name)?.value
    const shapes = inputs.map(({ shape }) => shape)
    matmuls.push(tensorflowMatmul(op, attribute, shapes))
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
    replace(Recorder.prototype, 'watch', (original) => (f) => {
      recording = true
      try {
        return original(f)
      } finally {
        recording = false
      }
    }),
    replace(GraphSession.prototype, 'execute', (original, session) => (inputs, refs) => {
      const { operands, resolve } = graphMatmuls(session.recording, session.recording.inputs, refs)
      const results = original(inputs, [...refs, ...operands])
      matmuls.push(...resolve(results.splice(refs.length)))
      return results
    }),
  ]
  return () => {
    for (const restore of restores) restore()
  }
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
        const shapes = (Object.values(inputs) as tf.Tensor[]).map(({ shape }) => shape)
        if (name === tf.Einsum) matmuls.push(einsumOf(String(equation), shapes))
        return original(name, inputs, attributes)
      }) as typeof original,
  )
}
