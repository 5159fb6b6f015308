import * as tf from '@tensorflow/tfjs-core'
import { fused } from './fused.ts'
import type { OpAttribute, TfjsNode } from './tensorflow.ts'

/** TensorFlow ops that tfjs does not offer, or offers only with a read-back. */
export interface TensorflowOps {
  /** How often each value 0..size-1 occurs. values [n] int32 -> [size] int32. */
  bincount(values: tf.Tensor1D, size: number): tf.Tensor1D
  /** The entries [...] of a stack [E, ...] at indices [n] int32, as views: a cut along the first axis copies nothing. */
  pick(stack: tf.Tensor, indices: tf.Tensor1D): tf.Tensor[]
  /** The part of x from index `begin` [1] to before `end` [1], both int32, along an axis. */
  cutAlong<X extends tf.Tensor>(x: X, axis: number, begin: tf.Tensor1D, end: tf.Tensor1D): X
  /** values [T, E], indices [T, K] int32 -> each row's values at its indices [T, K]. No gradient. */
  pickColumns(values: tf.Tensor2D, indices: tf.Tensor2D): tf.Tensor2D
  /** The bits of whole numbers taken for numbers of float32, in place. */
  asFloats(x: tf.Tensor1D): tf.Tensor1D
  /** Half the sum of squares: one op that a NaN or an infinity anywhere in x cannot pass. */
  halfSquares(x: tf.Tensor): tf.Scalar
  /**
   * `down(silu(gate(x)) * up(x))` turned, so [D, n], of x [n, D], gateUp [2H, D], down [D, H]. Cheaper to call than tfjs's kernels; no gradient.
   */
  swiglu(x: tf.Tensor2D, gateUp: tf.Tensor, down: tf.Tensor): tf.Tensor2D
}

/** Of StridedSlice, in its order. */
const MASKS = ['begin_mask', 'end_mask', 'ellipsis_mask', 'new_axis_mask', 'shrink_axis_mask'] as const

export function tensorflowOps(backend: TfjsNode): TensorflowOps {
  const { binding } = backend
  const type = (name: string, value: number): OpAttribute => ({ name, type: binding.TF_ATTR_TYPE, value })
  const int = (name: string, value: number): OpAttribute => ({ name, type: binding.TF_ATTR_INT, value })
  const bool = (name: string, value: boolean): OpAttribute => ({ name, type: binding.TF_ATTR_BOOL, value })
  const float = type('T', binding.TF_FLOAT)
  const op = (name: string, ...inputs: tf.Tensor[]) => backend.executeSingleOutput(name, [float], inputs)
  const matMul = (left: tf.Tensor, right: tf.Tensor, rightTransposed: boolean) =>
    backend.executeSingleOutput(
      'MatMul',
      [float, bool('transpose_a', false), bool('transpose_b', rightTransposed)],
      [left, right],
    )
  const cut = (inputs: tf.Tensor[], masks: Partial<Record<(typeof MASKS)[number], number>>) => {
    const attributes = [
      float,
      type('Index', binding.TF_INT32),
      ...MASKS.map((name) => int(name, masks[name] ?? 0)),
    ]
    return backend.executeSingleOutput('StridedSlice', attributes, inputs)
  }
  /** As an op of its own: what tfjs reshapes without one, a graph takes to have the same sizes in every run. */
  const reshape = (x: tf.Tensor, ...sizes: number[]) =>
    backend.executeSingleOutput(
      'Reshape',
      [float, type('Tshape', binding.TF_INT32)],
      [x, tf.tensor1d(sizes, 'int32')],
    )
  /** silu of the first half times the second half. */
  const gated = (both: tf.Tensor, axis: number) => {
    const halves = [tf.scalar(axis, 'int32'), both]
    const [gate, up] = backend.executeMultipleOutputs('Split', [float, int('num_split', 2)], halves, 2)
    return op('Mul', op('Mul', gate, op('Sigmoid', gate)), up)
  }
  return {
    bincount: (values, size) =>
      tf.tidy(() => {
        const unweighted = tf.tensor1d([], 'int32')
        const inputs = [values, tf.scalar(size, 'int32'), unweighted]
        return backend.executeSingleOutput('Bincount', [type('T', binding.TF_INT32)], inputs) as tf.Tensor1D
      }),
    pick: (stack, indices) =>
      tf.tidy(() => {
        const [n] = indices.shape
        const one = tf.tensor1d([1], 'int32')
        // The end counts for nothing where the axis is dropped.
        return tf.split(indices, n).map((at) => cut([stack, at, at, one], { shrink_axis_mask: 1 }))
      }),
    cutAlong: <X extends tf.Tensor>(x: X, axis: number, begin: tf.Tensor1D, end: tf.Tensor1D) =>
      tf.tidy(() => {
        const others = 2 ** axis - 1 // a bit an axis before this one: taken whole
        const inputs = [x, ...[begin, end].map((at) => tf.pad(at, [[axis, 0]])), tf.ones([axis + 1], 'int32')]
        return cut(inputs, { begin_mask: others, end_mask: others }) as X
      }),
    pickColumns: (values, indices) => tf.gather(values, indices, 1, 1) as unknown as tf.Tensor2D,
    asFloats: (x) =>
      backend.executeSingleOutput(
        'Bitcast',
        [type('T', binding.TF_INT32), type('type', binding.TF_FLOAT)],
        [x],
      ) as tf.Tensor1D,
    halfSquares: (x) => backend.executeSingleOutput('L2Loss', [float], [x]) as tf.Scalar,
    swiglu: (x, gateUp, down) =>
      tf.tidy(() => {
        // One row on the left is read faster against the weights' rows; of several, Eigen makes slow work.
        if (x.shape[0] === 1) {
          return tf.transpose(matMul(gated(matMul(x, gateUp, true), 1), down, true)) as tf.Tensor2D // right for no row, too
        }
        const both = matMul(gateUp, x, true)
        // Two reshapes more, and the halves of gate and up are not copied: in a graph they cost nothing, op by op more than the copy.
        const views = backend.onFused !== undefined
        const hidden = fused('gated', [both], {}, () =>
          views ? reshape(gated(reshape(both, 2, -1), 0), down.shape[1] as number, -1) : gated(both, 0),
        )
        return matMul(down, hidden, false) as tf.Tensor2D
      }),
  }
}
