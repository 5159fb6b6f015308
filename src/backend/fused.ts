import type * as tf from '@tensorflow/tfjs-core'
import type { FusedCall, FusedName } from './kernels.ts'
import { tensorflow } from './tensorflow.ts'

/** Runs `steps`, the definition of what they compute; a recorded graph may run the kernel of that name in their place. */
export function fused<X extends tf.Tensor>(
  name: FusedName,
  inputs: tf.Tensor[],
  attributes: FusedCall['attributes'],
  steps: () => X,
): X {
  const output = steps()
  tensorflow()?.onFused?.({ name, inputs, attributes }, output)
  return output
}
