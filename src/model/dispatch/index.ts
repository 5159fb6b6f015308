import type * as tf from '@tensorflow/tfjs-core'
import { fused } from '../../backend/fused.ts'
import { LIMITS } from '../../backend/limits.ts'
import type { TensorflowOps } from '../../backend/tensorflow-ops.ts'
import { routingToTensors } from '../router/tensors.ts'
import type { Routing, RoutingTensors } from '../router/types.ts'
import type { DispatchName } from '../ways.ts'
import type { MoeWeights } from '../weights.ts'
import { dispatchDense } from './dense.ts'
import { dispatchGather, dispatchGatherTensorflow } from './gather.ts'
import { dispatchSparse, dispatchSparseTensorflow } from './sparse.ts'

/** The strategy that `auto` takes for T tokens with K experts each. */
export function chooseDispatch(tokens: number, topK: number): DispatchName {
  return tokens * topK <= LIMITS.gatherAssignments ? 'gather' : 'sparse'
}

/** Routed experts by a decision on the device, nothing read back: dispatch, experts, combine. x [T, D] -> [T, D]. */
export function dispatchOnDevice(
  name: DispatchName,
  x: tf.Tensor2D,
  { experts, stacked }: MoeWeights,
  routing: RoutingTensors,
  ops: TensorflowOps,
): tf.Tensor2D {
  if (name === 'dense') return dispatchDense(x, experts, routing)
  if (!stacked) return dispatchSparseTensorflow(x, experts, routing, ops)
  const { expertIndices, expertWeights } = routing
  const inputs = [x, stacked.gateUp, stacked.down, expertIndices, expertWeights]
  return fused('experts', inputs, {}, () =>
    name === 'gather'
      ? dispatchGatherTensorflow(x, stacked, routing, ops)
      : dispatchSparseTensorflow(x, experts, routing, ops),
  )
}

/** The same by a decision on the host. */
export function dispatchOnHost(
  name: DispatchName,
  x: tf.Tensor2D,
  { experts }: MoeWeights,
  routing: Routing,
): tf.Tensor2D {
  if (name === 'dense') return dispatchDense(x, experts, routingToTensors(routing, x.shape[0]))
  return (name === 'gather' ? dispatchGather : dispatchSparse)(x, experts, routing)
}
