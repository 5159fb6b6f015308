import * as tf from '@tensorflow/tfjs-core'

/** A kernel of src/native, and what it is given. */
export interface OneKernel {
  op: `Tinymoe${'Attention' | 'Combine' | 'Expert' | 'Experts' | 'Gated' | 'RmsNorm' | 'Rope'}`
  inputs: tf.Tensor[]
  /** Whole numbers and others. */
  attributes?: Record<string, { i: number } | { f: number }>
  /** Whether it is the faster way for few rows only. */
  fewRows?: boolean
  /** Whether it reads matrices of weights, which it takes in float32. */
  weights?: boolean
}

/** A backend that is being recorded for a processor. */
export interface KernelListener {
  /** Told of steps that have run, and that `kernel` makes the same of them. */
  noteKernel?(kernel: OneKernel, output: tf.Tensor): void
}

/** Runs `steps`, the definition of what they compute; a recorded graph may run `kernel` in their place. */
export function asOneKernel<X extends tf.Tensor>(kernel: OneKernel, steps: () => X): X {
  const output = steps()
  ;(tf.backend() as KernelListener).noteKernel?.(kernel, output)
  return output
}
