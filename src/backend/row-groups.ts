import * as tf from '@tensorflow/tfjs-core'
import type { TfjsNode } from './tensorflow.ts'

/** Rows cut into groups whose sizes are themselves a tensor, for TensorFlow, with a gradient. */
const SPLIT_ROWS = 'SplitRows'

/** Makes it known to tfjs. Once, when TensorFlow is loaded. */
export function registerSplitRows(): void {
  tf.registerKernel({
    kernelName: SPLIT_ROWS,
    backendName: 'tensorflow',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { binding, executeMultipleOutputs } = backend as TfjsNode
      const { x, sizes } = inputs as { x: tf.Tensor; sizes: tf.Tensor }
      const { count } = attrs as { count: number }
      const attributes = [
        { name: 'num_split', type: binding.TF_ATTR_INT, value: count },
        { name: 'T', type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT },
        { name: 'Tlen', type: binding.TF_ATTR_TYPE, value: binding.TF_INT32 },
      ]
      return tf.tidy(() => {
        const given = [x, sizes, tf.scalar(0, 'int32')]
        return executeMultipleOutputs.call(backend, 'SplitV', attributes, given, count)
      })
    },
  })
  tf.registerGradient({
    kernelName: SPLIT_ROWS,
    gradFunc: (ofGroups) => ({ x: () => tf.concat([ofGroups].flat(), 0) }),
  })
}

/** Rows x cut in `count` groups of so many rows each, sizes [count] int32. */
export function splitRows(x: tf.Tensor2D, sizes: tf.Tensor1D, count: number): tf.Tensor2D[] {
  return tf.engine().runKernel(SPLIT_ROWS, { x, sizes }, { count }) as tf.Tensor2D[]
}

/** Groups of these sizes as rows again; its gradient, too, knows the sizes as a tensor only. */
export function joinRows(groups: tf.Tensor2D[], sizes: tf.Tensor1D): tf.Tensor2D {
  const join = tf.customGrad((...args) => {
    const save = args.pop() as tf.GradSaveFunc
    save([sizes])
    return {
      value: tf.concat(args as tf.Tensor2D[], 0),
      gradFunc: (dy: tf.Tensor, [kept]: tf.Tensor[]) =>
        splitRows(dy as tf.Tensor2D, kept as tf.Tensor1D, groups.length),
    }
  })
  return join(...groups) as tf.Tensor2D
}

/** The same numbers, to which no gradient goes back. The caller disposes it. */
export function withoutGradient<X extends tf.Tensor>(x: X): X {
  const backend = tf.backend()
  backend.incRef(x.dataId)
  return tf.engine().makeTensorFromDataId(x.dataId, x.shape, x.dtype, backend) as X
}
