import * as tf from '@tensorflow/tfjs-core'
import { BYTES_PER_WEIGHT, moeLayerFlops, moeLayerWeightBytes } from '../../src/cost/index.ts'
import { expertParameters } from '../../src/cost/parameters.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { routingToHost } from '../../src/model/router/tensors.ts'
import type { DispatchName, Executor } from '../../src/model/ways.ts'
import { NOMINAL_SECONDS } from '../presets.ts'
import { type Dispatch, isTwin, type LayerDims, type RoutingKind, type Twin } from '../schema.ts'
import {
  type Case,
  type CaseFacts,
  type Described,
  type OpenVariant,
  type PlannedCase,
  type VariantChoice,
  variantsFor,
} from './case.ts'
import { finish, readOf } from './finish.ts'
import { variantBytes } from './memory.ts'
import { type Layers, type RandomLayer, randomRows } from './random-layer.ts'
import {
  applyFeedForward,
  disposeFeedForward,
  RandomTensors,
  randomFeedForward,
  twinWidth,
} from './random-weights.ts'
import { RecordedComputation } from './recorded-layer.ts'
import { logitPush, spreadOf } from './routing.ts'

/** What of a layer a case measures. */
export interface LayerCaseOptions extends VariantChoice {
  T: number
  routing: RoutingKind
  seed: number
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
  const open = ({ dispatch, executor }: Described): OpenVariant =>
    isTwin(dispatch)
      ? openTwin(x, dims, dispatch, seed, executor)
      : opened(x, () => tf.tidy(() => route(dispatch).output), executor)
  const variants = describeVariants(dims, options, spread.expertsTouched[0])
  return {
    ...layerCaseFacts(dims, options),
    spread,
    variants: variants.map((variant) => ({ ...variant, open: () => open(variant) })),
    read: () => finish(finished),
    dispose: () => {
      tf.dispose([x, finished])
      push?.dispose()
    },
  }
}

/** What a case is, before anything is made for it. */
function layerCaseFacts(dims: LayerDims, { T, routing }: Pick<LayerCaseOptions, 'T' | 'routing'>): CaseFacts {
  return {
    group: layerGroup(dims, T, routing),
    kind: 'layer',
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
function describeVariants(dims: LayerDims, options: LayerCaseOptions, touched: number): Described[] {
  const { D, E, K } = dims
  const { T } = options
  const weightsOf = (dispatch: Dispatch) => {
    if (!isTwin(dispatch)) return moeLayerWeightBytes(dims, dispatch === 'dense' ? E : touched)
    return BYTES_PER_WEIGHT * expertParameters(D, twinWidth(dims, dispatch))
  }
  return variantsFor(T * K, options).map(([dispatch, executor]) => ({
    dispatch,
    executor,
    flops: isTwin(dispatch)
      ? 2 * T * expertParameters(D, twinWidth(dims, dispatch))
      : moeLayerFlops({ T, ...dims }, dispatch),
    idealSpeedup: dispatch === 'dense' || dispatch === 'twin-total' ? 1 : E / K,
    weightBytes: weightsOf(dispatch),
    bytes: variantBytes(dims, T, dispatch, executor),
  }))
}

/** What the plan says of a case of a layer. */
export interface PlannedLayer extends Pick<LayerCaseOptions, 'T' | 'routing' | 'twins'> {
  dims: LayerDims
  /** Only the first executor, and little time: one of very many. */
  inGrid: boolean
}

/** Up to this many tokens a case of a layer needs no more time than others. */
const SMALL = 256

export function plannedLayer(
  { dims, T, routing, twins, inGrid }: PlannedLayer,
  { layers, executors, seed }: { layers: Layers; executors: readonly Executor[]; seed: number },
): PlannedCase {
  const options = { T, routing, twins, seed: seed + T, executors: inGrid ? executors.slice(0, 1) : executors }
  const { D, H, E, K } = dims
  return {
    facts: layerCaseFacts(dims, options),
    what: `layer, D=${D} H=${H} E=${E} K=${K} T=${T} ${routing}`,
    seconds: NOMINAL_SECONDS[inGrid ? 'grid' : 'layer'] * (T > SMALL ? 2 : 1),
    telling: dims === layers.dims && routing === 'real',
    describe: () => describeVariants(dims, options, Math.min(E, T * K)),
    make: (measure) => layers.using(dims, (layer) => measure(layerCase(layer, options))),
  }
}

function openTwin(
  x: tf.Tensor2D,
  dims: LayerDims,
  twin: Twin,
  seed: number,
  executor: Executor,
): OpenVariant {
  const weights = randomFeedForward(dims.D, twinWidth(dims, twin), new RandomTensors(seed))
  const { run, dispose } = opened(x, () => applyFeedForward(x, weights), executor)
  return {
    run,
    dispose: () => {
      dispose()
      disposeFeedForward(weights)
    },
  }
}

/** `compute` on x by an executor; it makes one tensor and leaves no other behind. */
function opened(x: tf.Tensor2D, compute: () => tf.Tensor2D, executor: Executor): OpenVariant {
  const recorded = executor === 'recorded' ? new RecordedComputation(x, compute) : null
  return {
    run: () => {
      const output = recorded?.run() ?? compute()
      finish(output)
      output.dispose()
    },
    dispose: () => recorded?.dispose(),
  }
}
