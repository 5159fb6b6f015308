import * as tf from '@tensorflow/tfjs-core'

/** A kernel of src/runtime/kernels, and what it is given. */
export interface OneKernel {
  op: 'FewRowsAttention' | 'FewRowsExpert' | 'FewRowsExperts' | 'FewRowsRmsNorm'
  inputs: tf.Tensor[]
  /** Numbers with a fraction. */
  attributes?: Record<string, number>
}

/** A backend that is being recorded for few rows. */
export interface KernelListener {
  /** Told of steps that have run, and that `kernel` makes the same of them. */
  noteKernel?(kernel: OneKernel, output: tf.Tensor): void
}

/** Runs `steps`, the definition of what they compute; a recorded graph of few rows then runs `kernel` in their place. */
export function asOneKernel<X extends tf.Tensor>(kernel: OneKernel, steps: () => X): X {
  const output = steps()
  ;(tf.backend() as KernelListener).noteKernel?.(kernel, output)
  return output
}
