import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../backend/fused.ts'
import type { TensorflowOps } from '../backend/tensorflow-ops.ts'
import type { Clamp } from './config.ts'
import type { ExpertWeights } from './weights.ts'

/** SwiGLU (Shazeer 2020): `down(silu(gate(x)) * up(x))`, silu(z) = z sigmoid(z); or what `clamp` says. x [T, D] -> [T, D]. */
export function applyExpert(x: tf.Tensor2D, expert: ExpertWeights, clamp?: Clamp): tf.Tensor2D {
  const steps = () => tf.tidy(() => tf.transpose(columnsInSteps(x, expert, clamp)) as tf.Tensor2D)
  const { gateUp, down } = expert
  if (!isPlain(expert, clamp)) return steps()
  return fused('expert', [x, gateUp.weight, down.weight], {}, steps)
}

/** Whether it is matrices and SwiGLU alone, which is what TensorFlow's few steps and the fused kernels compute. */
export function isPlain(
  { gateUp, down }: Record<keyof ExpertWeights, { bias: unknown }>,
  clamp?: Clamp,
): boolean {
  return !gateUp.bias && !down.bias && !clamp
}

/** The same in fewer steps where TensorFlow's own ops are at hand and no gradient is asked for. */
export function applyExpertTensorflow(
  x: tf.Tensor2D,
  expert: ExpertWeights,
  ops: TensorflowOps,
): tf.Tensor2D {
  return tf.tidy(() => tf.transpose(expertColumns(x, expert, ops)))
}

/** The same, a column a token: [D, T]. */
export function expertColumns(
  x: tf.Tensor2D,
  expert: ExpertWeights,
  ops: TensorflowOps,
  clamp?: Clamp,
): tf.Tensor2D {
  const { gateUp, down } = expert
  return isPlain(expert, clamp) ? ops.swiglu(x, gateUp.weight, down.weight) : columnsInSteps(x, expert, clamp)
}

function columnsInSteps(x: tf.Tensor2D, { gateUp, down }: ExpertWeights, clamp?: Clamp): tf.Tensor2D {
  return tf.tidy(() => {
    const product = tf.matMul(gateUp.weight, x, false, true) // [2H, T]
    const both = gateUp.bias ? tf.add(product, tf.expandDims(gateUp.bias, 1)) : product
    const [gate, up] = tf.split(both, 2, 0) // [H, T] each
    const hidden = clamp ? clamped(gate, up, clamp) : tf.mul(tf.mul(gate, tf.sigmoid(gate)), up)
    const columns = tf.matMul(down.weight, hidden) as tf.Tensor2D // [D, T]
    return down.bias ? tf.add(columns, tf.expandDims(down.bias, 1)) : columns
  })
}

/** gpt-oss (OpenAI 2025, arXiv 2508.10925); the gate has no lower limit. */
function clamped(gate: tf.Tensor, up: tf.Tensor, { limit, alpha }: Clamp): tf.Tensor {
  const open = tf.minimum(gate, limit)
  const within = tf.maximum(tf.minimum(up, limit), -limit)
  return tf.mul(tf.mul(open, tf.sigmoid(tf.mul(open, alpha))), tf.add(within, 1))
}
