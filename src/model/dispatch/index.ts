import * as tf from '@tensorflow/tfjs-core'
import { fused } from '../../backend/fused.ts'
import { LIMITS } from '../../backend/limits.ts'
import type { TensorflowOps } from '../../backend/tensorflow-ops.ts'
import type { MoeConfig, RouterConfig } from '../config.ts'
import { isPlain } from '../experts.ts'
import { routingToTensors } from '../router/tensors.ts'
import type { Routing, RoutingTensors } from '../router/types.ts'
import type { DispatchName } from '../ways.ts'
import type { Experts, MoeWeights, StackedExperts } from '../weights.ts'
import { dispatchDense } from './dense.ts'
import { dispatchGather, dispatchGatherTensorflow } from './gather.ts'
import { dispatchSparse, dispatchSparseTensorflow, dispatchSparseTrainable } from './sparse.ts'

/** The strategy that `auto` takes for T tokens with K experts each. */
export function chooseDispatch(tokens: number, topK: number): DispatchName {
  return tokens * topK <= LIMITS.gatherAssignments ? 'gather' : 'sparse'
}

/** Routed experts by a decision on the device, nothing read back: dispatch, experts, combine. x [T, D] -> [T, D]. */
export function dispatchOnDevice(
  name: DispatchName,
  x: tf.Tensor2D,
  { experts, stacked }: { experts: Experts; stacked?: StackedExperts },
  routing: RoutingTensors,
  ops: TensorflowOps,
  { router, clamp }: Pick<MoeConfig, 'router' | 'clamp'>,
): tf.Tensor2D {
  return weighed(router, x, routing, ({ expertIndices, expertWeights }, rows) => {
    const decision = { expertIndices, expertWeights }
    if (name === 'dense') return dispatchDense(rows, experts, decision, clamp)
    if (!stacked) return dispatchSparseTensorflow(rows, experts, decision, ops, clamp)
    const steps = () =>
      name === 'gather'
        ? dispatchGatherTensorflow(rows, stacked, decision, ops, clamp)
        : dispatchSparseTensorflow(rows, experts, decision, ops, clamp)
    const { gateUp, down } = stacked
    if (isPlain(stacked, clamp)) {
      const inputs = [rows, gateUp.weight, down.weight, expertIndices, expertWeights]
      return fused('experts', inputs, {}, steps)
    }
    if (!clamp || !gateUp.bias || !down.bias || rows.shape[0] > LIMITS.fewRows) return steps()
    const matrices = [gateUp.weight, gateUp.bias, down.weight, down.bias]
    return fused('clampedExperts', [rows, ...matrices, expertIndices, expertWeights], { ...clamp }, steps)
  })
}

/** The same for gradients, which reach the router by the decision's weights. */
export function dispatchTrainable(
  x: tf.Tensor2D,
  { experts }: MoeWeights,
  routing: RoutingTensors,
  ops: TensorflowOps,
  { router, clamp }: Pick<MoeConfig, 'router' | 'clamp'>,
): tf.Tensor2D {
  return weighed(router, x, routing, (decision, rows) =>
    dispatchSparseTrainable(rows, experts, decision, ops, clamp),
  )
}

/** The same by a decision on the host; `weights` [T, K] stand in for the decision's own where a gradient has to reach the router. */
export function dispatchOnHost(
  name: DispatchName,
  x: tf.Tensor2D,
  experts: Experts,
  routing: Routing,
  { router, clamp }: Pick<MoeConfig, 'router' | 'clamp'>,
  weights?: tf.Tensor2D,
): tf.Tensor2D {
  return tf.tidy(() => {
    const tensors = routingToTensors(routing, x.shape[0])
    return weighed(
      router,
      x,
      { ...tensors, expertWeights: weights ?? tensors.expertWeights },
      (decision, rows) => {
        if (name === 'dense') return dispatchDense(rows, experts, decision, clamp)
        if (name === 'gather') return dispatchGather(rows, experts, routing, decision.expertWeights, clamp)
        return dispatchSparse(rows, experts, routing, decision.expertWeights, clamp)
      },
    )
  })
}

/**
 * Runs a dispatch. Where weights belong on the experts' input, each assignment becomes a row of its own, x times its weight, with
 * one expert of weight 1, and the rows of a token are added up.
 */
function weighed(
  { weighsInput }: Pick<RouterConfig, 'weighsInput'>,
  x: tf.Tensor2D,
  routing: RoutingTensors,
  run: (routing: RoutingTensors, x: tf.Tensor2D) => tf.Tensor2D,
): tf.Tensor2D {
  if (!weighsInput) return run(routing, x)
  return tf.tidy(() => {
    const { expertIndices, expertWeights } = routing
    const [T, K] = expertWeights.shape
    const rows = tf.mul(tf.expandDims(x, 1), tf.expandDims(expertWeights, 2)) // [T, K, D]
    const each: RoutingTensors = {
      expertIndices: tf.reshape(expertIndices, [T * K, 1]),
      expertWeights: tf.ones([T * K, 1]),
    }
    const outputs = run(each, tf.reshape(rows, [T * K, x.shape[1]])) // [T K, D]
    return tf.sum(tf.reshape(outputs, [T, K, x.shape[1]]), 1)
  })
}
