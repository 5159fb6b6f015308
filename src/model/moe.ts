import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import type { MoeConfig } from './config.ts'
import { chooseDispatch, dispatchOnDevice, dispatchOnHost, dispatchTrainable } from './dispatch/index.ts'
import { applyExpert } from './experts.ts'
import { linear } from './linear.ts'
import { route } from './router/route.ts'
import { contextOf } from './router/steps.ts'
import { routeTensors, routeTrainable, routeTrainableTensors, routingToHost } from './router/tensors.ts'
import type { Intervention, RouterPlace, Routing, RoutingTensors } from './router/types.ts'
import type { DispatchName } from './ways.ts'
import { type ExpertWeights, type MoeWeights, routerRules } from './weights.ts'

/** What a layer's routing depends on beside its logits. */
export interface MoeContext {
  place: RouterPlace
  /** Given when someone intervenes; routing is then done on the host, where it can be changed and looked at. */
  intervention?: Intervention
  /** Given when gradients are asked for. */
  training?: Training | null
}

/** Asks a forward for gradients, and hears of each mixture layer what a balance loss is made of. */
export interface Training {
  /** Given, all choices stay on the device, as a graph needs it; a layer's choosing bias is then a tensor, too. Without it, the definition. */
  onDevice?: { choosingBias(layer: number): tf.Tensor1D | null }
  /** Experts [T, K] in the place of those that a layer's router chooses, to take a step again. */
  replay?(layer: number): Int32Array
  /** The tensors are disposed with the layer: `tf.keep` what is needed of them. Logits [T, E] are differentiable. */
  onRouting(layer: number, routerLogits: tf.Tensor2D, choice: Choice): void
}

/** What a router chose, in training. */
export interface Choice {
  /** [T, K] int32 */
  expertIndices: tf.Tensor2D
  /** [E] float32 */
  tokensPerExpert: tf.Tensor1D
}

/** What the routed experts make of x [T, D], and who they were, on the host or on the device. */
export interface Routed {
  output: tf.Tensor2D
  routing: Routing | RoutingTensors
}

/** The mixture layer: a router sends each token to K of E experts and adds up what they make of it. x [T, D] -> [T, D]. */
export function moe(
  x: tf.Tensor2D,
  weights: MoeWeights,
  config: MoeConfig,
  dispatch: DispatchName | 'auto',
  context: MoeContext,
): Routed & { routerLogits: tf.Tensor2D } {
  const routerLogits = linear(x, weights.router) // [T, E]
  const { output: routed, routing } = routeAndDispatch(x, routerLogits, weights, config, dispatch, context)
  const { shared } = weights // what every token passes through beside its K
  const output = shared
    ? tf.tidy(() => tf.add<tf.Tensor2D>(routed, sharedExpert(x, shared, weights)))
    : routed // [T, D]
  return { output, routing, routerLogits }
}

function sharedExpert(x: tf.Tensor2D, shared: ExpertWeights, { sharedGate }: MoeWeights): tf.Tensor2D {
  const output = applyExpert(x, shared)
  return sharedGate ? tf.mul(output, tf.sigmoid(tf.matMul(x, sharedGate, false, true))) : output
}

/**
 * The layer from its logits [T, E] on: route, which gives expertIndices and expertWeights [T, K]; dispatch, which brings rows of x
 * to their experts; combine, which adds the K outputs of a token by its weights. The three ways are one definition:
 * `moeReference` of the tests on what `route` chose.
 */
export function routeAndDispatch(
  x: tf.Tensor2D,
  routerLogits: tf.Tensor2D,
  weights: MoeWeights,
  config: MoeConfig,
  dispatch: DispatchName | 'auto',
  context: MoeContext = { place: { layer: 0 } },
): Routed {
  const { place, intervention, training } = context
  if (training) return trained(x, routerLogits, weights, config, { place, training })
  const rules = routerRules(config, weights)
  const topK = intervention?.topK ?? config.router.topK
  const name = dispatch === 'auto' ? chooseDispatch(x.shape[0], topK) : dispatch
  const { ops, read } = backend()
  const { stacked, onDisk } = weights
  const experts = onDisk ?? weights.experts
  if (ops && !intervention && (stacked || (name !== 'gather' && !onDisk))) {
    const routing = routeTensors(routerLogits, rules)
    const atHand = onDisk ? onDisk.together(routing.expertIndices, name === 'dense') : experts
    if (atHand) {
      return {
        output: dispatchOnDevice(name, x, { stacked, experts: atHand }, routing, ops, config),
        routing,
      }
    }
    const onHost = routingToHost(routing, experts.length) // one expert after the other
    return { output: dispatchOnHost(name, x, experts, onHost, config), routing }
  }
  const routing = route(read(routerLogits), config.router, contextOf(rules, { place, intervention }))
  return { output: dispatchOnHost(name, x, experts, routing, config), routing }
}

/** The same for gradients. */
function trained(
  x: tf.Tensor2D,
  routerLogits: tf.Tensor2D,
  weights: MoeWeights,
  config: MoeConfig,
  { place, training }: { place: RouterPlace; training: Training },
): Routed {
  const { ops } = backend()
  const { layer } = place
  const { onDevice } = training
  if (onDevice && ops) {
    const routing = routeTrainableTensors(routerLogits, config.router, onDevice.choosingBias(layer))
    const output = dispatchTrainable(x, weights, routing, ops, config)
    const { expertIndices } = routing
    const counts = ops.bincount(tf.reshape(expertIndices, [expertIndices.size]), config.router.numExperts)
    training.onRouting(layer, routerLogits, { expertIndices, tokensPerExpert: tf.cast(counts, 'float32') })
    return { output, routing }
  }
  const rules = routerRules(config, weights)
  const chosen = training.replay?.(layer)
  const { routing, weights: expertWeights } = routeTrainable(routerLogits, rules, place, chosen)
  const experts = weights.onDisk ?? weights.experts
  const output = dispatchOnHost('sparse', x, experts, routing, config, expertWeights)
  training.onRouting(layer, routerLogits, {
    expertIndices: tf.tensor2d(routing.expertIndices, [x.shape[0], config.router.topK], 'int32'),
    tokensPerExpert: tf.tensor1d(Float32Array.from(routing.tokensPerExpert)),
  })
  return { output, routing }
}
