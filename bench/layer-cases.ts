import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../src/backend/backend.ts'
import { BYTES_PER_WEIGHT, moeLayerFlops, moeLayerWeightBytes } from '../src/cost/index.ts'
import { expertParameters } from '../src/cost/parameters.ts'
import type { Executor } from '../src/load-model.ts'
import { type MoeConfig, softmaxTopK } from '../src/model/config.ts'
import { DISPATCHES, type DispatchName, routeAndDispatch } from '../src/model/dispatch/index.ts'
import { linear } from '../src/model/linear.ts'
import { routingToHost } from '../src/model/router/tensors.ts'
import { type ExpertWeights, type MoeWeights, stackExperts } from '../src/model/weights.ts'
import type { Case, OpenVariant, Variant } from './cases.ts'
import { applyFeedForward, disposeFeedForward, isTwin, randomFeedForward, twinWidth } from './feed-forward.ts'
import { finish, readOf } from './finish.ts'
import { variantBytes } from './memory.ts'
import { RandomTensors } from './numbers.ts'
import { RecordedComputation } from './recorded-layer.ts'
import { LAYER_ROUTING, logitPush, spreadOf } from './routing.ts'
import { type Dispatch, type LayerDims, type LayerFacts, type RoutingKind, TWINS } from './types.ts'

/** Up to this many assignments (T K) `gather` is measured too; it is for few tokens, and far beyond it only wastes time. */
export const GATHER_UP_TO = 64

/** One mixture layer with random weights, that cases of several T share. */
export interface RandomLayer {
  dims: LayerDims
  config: MoeConfig
  weights: MoeWeights
  dispose(): void
}

/** What of a layer a case measures. */
export interface LayerCaseOptions {
  T: number
  routing: RoutingKind
  /** The first is measured first, and by it also the twins. */
  executors: readonly Executor[]
  twins: boolean
  seed: number
}

export function randomLayer(dims: LayerDims, seed: number): RandomLayer {
  const { D, H, E, K } = dims
  const numbers = new RandomTensors(seed)
  const router = { weight: numbers.weights(D, E, D), bias: null }
  const experts = asLoaded(Array.from({ length: E }, () => randomFeedForward(D, H, numbers)))
  const weights: MoeWeights = { kind: 'moe', router, scoreBias: null, ...experts }
  return {
    dims,
    config: { kind: 'moe', intermediateSize: H, router: softmaxTopK(E, K) },
    weights,
    dispose: () => {
      weights.experts.forEach(disposeFeedForward)
      tf.dispose([router.weight, ...Object.values(weights.stacked ?? {})])
    },
  }
}

export function layerFacts(dims: LayerDims, source: string): LayerFacts {
  const { D, H, E, K } = dims
  const parameters = (experts: number) => D * E + experts * expertParameters(D, H)
  return {
    ...dims,
    totalParameters: parameters(E),
    activeParameters: parameters(K),
    source,
    routing: LAYER_ROUTING,
  }
}

/** T rows for a layer of width D, variance 1. */
export function randomRows(T: number, D: number, seed: number): tf.Tensor2D {
  return new RandomTensors(seed).matrix(T, D, Math.sqrt(3))
}

export function layerGroup({ D, H, E, K }: LayerDims, T: number, routing: RoutingKind): string {
  return `layer/D${D}-H${H}-E${E}-K${K}/T${T}/${routing}`
}

/** Router and experts on T random rows, by every dispatch and executor, and the layer's twins. */
export function layerCase(layer: RandomLayer, options: LayerCaseOptions): Case {
  const { dims, config, weights } = layer
  const { T, routing, seed } = options
  const x = randomRows(T, dims.D, seed)
  const push = logitPush(routing, T, dims)
  const route = (dispatch: DispatchName) => {
    const logits = linear(x, weights.router)
    const context = { place: { layer: 0 } }
    return routeAndDispatch(x, push ? tf.add(logits, push) : logits, weights, config, dispatch, context)
  }
  const spread = spreadOf([
    tf.tidy(() => {
      const { routing: made } = route('sparse')
      return ('tokensPerExpert' in made ? made : routingToHost(made, dims.E)).tokensPerExpert
    }),
  ])
  const finished = tf.tidy(() => route('sparse').output)
  finish(finished)
  const open = (dispatch: Dispatch, executor: Executor): OpenVariant =>
    isTwin(dispatch)
      ? openTwin(x, randomFeedForward(dims.D, twinWidth(dims, dispatch), new RandomTensors(seed)), executor)
      : opened(x, () => tf.tidy(() => route(dispatch).output), executor)
  const variants = describeVariants(dims, options, spread.expertsTouched[0]).map((variant) => ({
    ...variant,
    open: () => open(variant.dispatch, variant.executor),
  }))
  return {
    ...layerCaseFacts(dims, options),
    spread,
    variants,
    read: () => finish(finished),
    dispose: () => {
      tf.dispose([x, finished])
      push?.dispose()
    },
  }
}

/** What a case is, before anything is made for it. */
export function layerCaseFacts(dims: LayerDims, { T, routing }: Pick<LayerCaseOptions, 'T' | 'routing'>) {
  return {
    group: layerGroup(dims, T, routing),
    kind: 'layer' as const,
    routing,
    dims,
    tokens: T,
    batch: 1,
    context: null,
    callsPerRun: 1,
    readBy: readOf(T * dims.D),
  }
}

/** The variants of a case, with what is known of them before anything is made. `touched`: experts that get a token. */
export function describeVariants(
  dims: LayerDims,
  options: Omit<LayerCaseOptions, 'seed'>,
  touched: number,
): Omit<Variant, 'open'>[] {
  const { T } = options
  return dispatchesOf(options, dims).map(([dispatch, executor]) => ({
    dispatch,
    executor,
    ...costOf(dims, T, dispatch, touched),
    bytes: variantBytes(dims, T, dispatch, executor),
  }))
}

function dispatchesOf(
  { T, executors, twins }: Omit<LayerCaseOptions, 'seed'>,
  { K }: LayerDims,
): [Dispatch, Executor][] {
  const dispatches = DISPATCHES.filter((name) => name !== 'gather' || T * K <= GATHER_UP_TO)
  return [
    ...executors.flatMap((executor) => dispatches.map((name): [Dispatch, Executor] => [name, executor])),
    ...(twins ? TWINS.map((twin): [Dispatch, Executor] => [twin, executors[0]]) : []),
  ]
}

function costOf(
  dims: LayerDims,
  T: number,
  dispatch: Dispatch,
  touched: number,
): Pick<Variant, 'flops' | 'idealSpeedup' | 'weightBytes'> {
  const { D, E, K } = dims
  const ideal = { dense: 1, sparse: E / K, gather: E / K, 'twin-active': E / K, 'twin-total': 1 }
  if (isTwin(dispatch)) {
    const weights = expertParameters(D, twinWidth(dims, dispatch))
    return {
      flops: 2 * T * weights,
      idealSpeedup: ideal[dispatch],
      weightBytes: BYTES_PER_WEIGHT * weights,
    }
  }
  return {
    flops: moeLayerFlops({ T, ...dims }, dispatch),
    idealSpeedup: ideal[dispatch],
    weightBytes: moeLayerWeightBytes(dims, dispatch === 'dense' ? E : touched),
  }
}

/** Experts in the form that a checkpoint is loaded to: stacked where the device can cut a stack without copying. */
function asLoaded(experts: ExpertWeights[]): Pick<MoeWeights, 'experts' | 'stacked'> {
  return backend().cutsShareMemory ? stackExperts(experts) : { experts }
}

function openTwin(x: tf.Tensor2D, weights: ExpertWeights, executor: Executor): OpenVariant {
  const variant = opened(x, () => applyFeedForward(x, weights), executor)
  return {
    ...variant,
    dispose: () => {
      variant.dispose()
      disposeFeedForward(weights)
    },
  }
}

/** `compute` on x by an executor; it makes one tensor and leaves no other behind. */
function opened(x: tf.Tensor2D, compute: () => tf.Tensor2D, executor: Executor): OpenVariant {
  const eagerly = () => {
    const output = compute()
    finish(output)
    output.dispose()
  }
  if (executor === 'eager') return { run: eagerly, dispose: () => {} }
  const recorded = new RecordedComputation(x, compute)
  return {
    run: () => {
      const output = recorded.run()
      output.dataSync()
      output.dispose()
    },
    dispose: () => recorded.dispose(),
  }
}
