import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../backend/fused.ts'
import type { TensorflowOps } from '../backend/tensorflow-ops.ts'
import type { ExpertWeights } from './weights.ts'

/** SwiGLU (Shazeer 2020): `down(silu(gate(x)) * up(x))`, silu(z) = z sigmoid(z). x [T, D] -> [T, D]. */
export function applyExpert(x: tf.Tensor2D, expert: ExpertWeights): tf.Tensor2D {
  const steps = () => tf.tidy(() => tf.transpose(columnsInSteps(x, expert)) as tf.Tensor2D)
  const { gateUp, down } = expert
  if (gateUp.bias || down.bias) return steps()
  return fused('expert', [x, gateUp.weight, down.weight], {}, steps)
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
export function expertColumns(x: tf.Tensor2D, expert: ExpertWeights, ops: TensorflowOps): tf.Tensor2D {
  const { gateUp, down } = expert
  if (gateUp.bias || down.bias) return columnsInSteps(x, expert)
  return ops.swiglu(x, gateUp.weight, down.weight)
}

function columnsInSteps(x: tf.Tensor2D, { gateUp, down }: ExpertWeights): tf.Tensor2D {
  return tf.tidy(() => {
    const product = tf.matMul(gateUp.weight, x, false, true) // [2H, T]
    const both = gateUp.bias ? tf.add(product, tf.expandDims(gateUp.bias, 1)) : product
    const [gate, up] = tf.split(both, 2, 0) // [H, T] each
    const hidden = tf.mul(tf.mul(gate, tf.sigmoid(gate)), up)
    const columns = tf.matMul(down.weight, hidden) as tf.Tensor2D // [D, T]
    return down.bias ? tf.add(columns, tf.expandDims(down.bias, 1)) : columns
  })
}
