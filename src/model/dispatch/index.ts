import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../backend/backend.ts'
import { fused } from '../../backend/fused.ts'
import { LIMITS } from '../../backend/limits.ts'
import type { TensorflowOps } from '../../backend/tensorflow-ops.ts'
import type { MoeConfig } from '../config.ts'
import { applyExpert } from '../experts.ts'
import { linear } from '../linear.ts'
import type { Intervention, RouterPlace } from '../router/interventions.ts'
import { assertFinite, type Routing, route } from '../router/route.ts'
import {
  type RoutingTensors,
  routeTensors,
  routingToHost,
  routingToTensors,
  weightsAt,
} from '../router/tensors.ts'
import type { MoeWeights } from '../weights.ts'
import { dispatchDense } from './dense.ts'
import { dispatchGather, dispatchGatherTensorflow } from './gather.ts'
import { dispatchSparse, dispatchSparseTensorflow } from './sparse.ts'

export const DISPATCHES = ['dense', 'sparse', 'gather'] as const
export type DispatchName = (typeof DISPATCHES)[number]

/** The strategy that `auto` takes for T tokens with K experts each. */
export function chooseDispatch(tokens: number, topK: number): DispatchName {
  return tokens * topK <= LIMITS.gatherAssignments ? 'gather' : 'sparse'
}

/** What a layer's routing depends on beside its logits. */
export interface DispatchContext {
  place: RouterPlace
  /** Given when someone intervenes; routing is then done on the host, where it can be changed and looked at. */
  intervention?: Intervention
}

/** The experts' part of the layer for x [T, D], and the routing it used (on the host or on the device). */
export function routeAndDispatch(
  x: tf.Tensor2D,
  routerLogits: tf.Tensor2D,
  weights: MoeWeights,
  { router }: MoeConfig,
  dispatch: DispatchName | 'auto',
  { place, intervention }: DispatchContext = { place: { layer: 0 } },
): { output: tf.Tensor2D; routing: Routing | RoutingTensors } {
  const { experts, scoreBias } = weights
  const topK = intervention?.topK ?? router.topK
  const name = dispatch === 'auto' ? chooseDispatch(x.shape[0], topK) : dispatch
  const { ops } = backend()
  if (ops && !intervention && (name !== 'gather' || weights.stacked)) {
    const routing = routeTensors(routerLogits, router, scoreBias)
    return { output: dispatchOnDevice(name, x, weights, routing, ops), routing }
  }
  // One read-back a layer.
  const logits = backend().read(routerLogits)
  const routing = route(logits, router, { scoreBias, place, intervention })
  if (name === 'dense') {
    return { output: dispatchDense(x, experts, routingToTensors(routing, x.shape[0])), routing }
  }
  return { output: (name === 'gather' ? dispatchGather : dispatchSparse)(x, experts, routing), routing }
}

/** A whole mixture layer for x [T, D]: router, routed experts, and the shared expert where there is one. */
export function mixtureLayer(
  x: tf.Tensor2D,
  weights: MoeWeights,
  config: MoeConfig,
  dispatch: DispatchName | 'auto',
  context: DispatchContext,
): { output: tf.Tensor2D; routing: Routing | RoutingTensors; routerLogits: tf.Tensor2D } {
  const routerLogits = linear(x, weights.router) // [T, E]
  const { output, routing } = routeAndDispatch(x, routerLogits, weights, config, dispatch, context)
  return { output: withShared(output, x, weights), routing, routerLogits }
}

/** Adds what the shared expert makes of x, where the layer has one. */
export function withShared(output: tf.Tensor2D, x: tf.Tensor2D, { shared }: MoeWeights): tf.Tensor2D {
  return shared ? tf.tidy(() => tf.add(output, applyExpert(x, shared))) : output
}

function dispatchOnDevice(
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

/**
 * The same layer in ops that have gradients: output differentiable in x, the logits and the experts. The choice, which
 * has no gradient, makes a detour over the host, so that back-propagation does not meet it.
 */
export function routeAndDispatchTrainable(
  x: tf.Tensor2D,
  routerLogits: tf.Tensor2D,
  { experts, scoreBias }: MoeWeights,
  { router }: MoeConfig,
  place: RouterPlace,
): { output: tf.Tensor2D; routing: Routing } {
  assertFinite(backend().read(routerLogits), router.numExperts, place)
  const routing = routingToHost(routeTensors(routerLogits, router, scoreBias), router.numExperts)
  const indices = tf.tensor2d(routing.expertIndices, [x.shape[0], router.topK], 'int32')
  const weights = weightsAt(routerLogits, indices, router)
  return { output: dispatchSparse(x, experts, routing, weights), routing }
}
