import * as tf from '@tensorflow/tfjs-core'
import type { TfjsNode } from './tensorflow.ts'

/**
 * tfjs-node's gather reads all indices back to check them, which stops a GPU and makes recording impossible. TensorFlow
 * checks them itself, so this one only gathers. It keeps tfjs's gradient, which is registered by the kernel's name.
 */
export function repairGather(): void {
  tf.unregisterKernel(tf.GatherV2, 'tensorflow')
  tf.registerKernel({
    kernelName: tf.GatherV2,
    backendName: 'tensorflow',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { binding, executeSingleOutput } = backend as TfjsNode
      const { axis, batchDims } = attrs as unknown as tf.GatherV2Attrs
      const { x, indices } = inputs as unknown as { x: tf.Tensor; indices: tf.Tensor }
      const type = (name: string, value: number) => ({ name, type: binding.TF_ATTR_TYPE, value })
      const attributes = [
        { name: 'batch_dims', type: binding.TF_ATTR_INT, value: batchDims },
        type(
          'Tparams',
          { int32: binding.TF_INT32, bool: binding.TF_BOOL }[x.dtype as string] ?? binding.TF_FLOAT,
        ),
        type('Tindices', binding.TF_INT32),
        type('Taxis', binding.TF_INT32),
      ]
      return tf.tidy(() =>
        executeSingleOutput.call(backend, 'GatherV2', attributes, [x, indices, tf.scalar(axis, 'int32')]),
      )
    },
  })
}
