import * as tf from '@tensorflow/tfjs-core'

/** The part of tfjs-node's backend that runs any TensorFlow op by its name. */
export interface TensorflowBackend {
  binding: Record<
    'TF_ATTR_TYPE' | 'TF_ATTR_INT' | 'TF_ATTR_BOOL' | 'TF_FLOAT' | 'TF_INT32' | 'TF_BOOL',
    number
  >
  executeSingleOutput(op: string, attributes: OpAttribute[], inputs: tf.Tensor[]): tf.Tensor
  executeMultipleOutputs(
    op: string,
    attributes: OpAttribute[],
    inputs: tf.Tensor[],
    count: number,
  ): tf.Tensor[]
}

export interface OpAttribute {
  name: string
  type: number
  value: unknown
}

/** TensorFlow ops that tfjs does not offer, or offers only with a read-back. */
export interface TensorflowOps {
  /** How often each value 0..size-1 occurs. values [n] int32 -> [size] int32. */
  bincount(values: tf.Tensor1D, size: number): tf.Tensor1D
  /** Rows cut in `count` pieces whose sizes are themselves a tensor [count] int32. */
  splitRows(x: tf.Tensor2D, sizes: tf.Tensor1D, count: number): tf.Tensor2D[]
  /** The matrices of a stack [E, a, b] at indices [n] int32, as views: a cut along the first axis copies nothing. */
  pickMatrices(stack: tf.Tensor3D, indices: tf.Tensor1D): tf.Tensor2D[]
  /** `down(silu(gate(x)) * up(x))`, x [n, D], gateUp [2H, D], down [H, D]. Cheaper to call than tfjs's kernels; no gradient. */
  swiglu(x: tf.Tensor2D, gateUp: tf.Tensor2D, down: tf.Tensor2D): tf.Tensor2D
}

/** The raw ops of the active backend, or null when that is not TensorFlow. */
export function tensorflowOps(): TensorflowOps | null {
  if (tf.getBackend() !== 'tensorflow') return null
  const backend = tf.backend() as unknown as TensorflowBackend
  const { binding } = backend
  const type = (name: string, value: number): OpAttribute => ({ name, type: binding.TF_ATTR_TYPE, value })
  const int = (name: string, value: number): OpAttribute => ({ name, type: binding.TF_ATTR_INT, value })
  const bool = (name: string, value: boolean): OpAttribute => ({ name, type: binding.TF_ATTR_BOOL, value })
  return {
    bincount: (values, size) =>
      tf.tidy(() => {
        const unweighted = tf.tensor1d([], 'int32')
        const inputs = [values, tf.scalar(size, 'int32'), unweighted]
        return backend.executeSingleOutput('Bincount', [type('T', binding.TF_INT32)], inputs) as tf.Tensor1D
      }),
    splitRows: (x, sizes, count) =>
      tf.tidy(() => {
        const attributes = [
          int('num_split', count),
          type('T', binding.TF_FLOAT),
          type('Tlen', binding.TF_INT32),
        ]
        const inputs = [x, sizes, tf.scalar(0, 'int32')]
        return backend.executeMultipleOutputs('SplitV', attributes, inputs, count) as tf.Tensor2D[]
      }),
    pickMatrices: (stack, indices) =>
      tf.tidy(() => {
        const [n] = indices.shape
        const [, a, b] = stack.shape
        const size = tf.tensor1d([1, a, b], 'int32')
        const starts = tf.concat([tf.reshape(indices, [n, 1]), tf.zeros([n, 2], 'int32')], 1) // [n, 3]
        const attributes = [type('T', binding.TF_FLOAT), type('Index', binding.TF_INT32)]
        return tf.unstack(starts).map((start) => {
          const picked = backend.executeSingleOutput('Slice', attributes, [stack, start, size])
          return tf.reshape(picked, [a, b]) as tf.Tensor2D
        })
      }),
    swiglu: (x, gateUp, down) =>
      tf.tidy(() => {
        const float = type('T', binding.TF_FLOAT)
        const op = (name: string, ...inputs: tf.Tensor[]) =>
          backend.executeSingleOutput(name, [float], inputs)
        const matMul = (a: tf.Tensor, b: tf.Tensor, transposed: 'a' | 'b') =>
          backend.executeSingleOutput(
            'MatMul',
            [float, bool('transpose_a', transposed === 'a'), bool('transpose_b', transposed === 'b')],
            [a, b],
          )
        const halves = [tf.scalar(0, 'int32'), matMul(gateUp, x, 'b')] // [2H, n]
        const [gate, up] = backend.executeMultipleOutputs('Split', [float, int('num_split', 2)], halves, 2)
        const hidden = op('Mul', op('Mul', gate, op('Sigmoid', gate)), up)
        return matMul(hidden, down, 'a') as tf.Tensor2D
      }),
  }
}
