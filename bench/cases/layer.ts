import * as tf from '@tensorflow/tfjs-core'
import type { Dtype, HalfDtype } from '../../src/backend/dtypes.ts'
import { holdRounded } from '../../src/backend/held.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { BYTES_PER_WEIGHT, moeLayerFlops, moeLayerWeightBytes } from '../../src/cost/index.ts'
import { expertParameters } from '../../src/cost/parameters.ts'
import { Sessions } from '../../src/graph/sessions.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { routingToHost } from '../../src/model/router/tensors.ts'
import type { DispatchName, Executor } from '../../src/model/ways.ts'
import {
  cutExperts,
  type ExpertWeights,
  type MoeWeights,
  type StackedExperts,
} from '../../src/model/weights.ts'
import { NOMINAL_SECONDS } from '../presets.ts'
import { isTwin, type LayerDims, type RoutingKind, type Twin } from '../schema.ts'
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
import { variantBytes, weightSets } from './memory.ts'
import { type Layers, type RandomLayer, randomRows } from './random-layer.ts'
import {
  applyFeedForward,
  copyFeedForward,
  RandomTensors,
  randomFeedForward,
  tensorsOf,
  twinWidth,
} from './random-weights.ts'
import { RecordedComputation } from './recorded-layer.ts'
import { logitPush, spreadOf } from './routing.ts'

/** What of a layer a case measures. */
export interface LayerCaseOptions extends VariantChoice {
  T: number
  routing: RoutingKind
  seed: number
  /** Sets of the layer's weights that calls take turns on. */
  sets: number
  fromCache: boolean
  dtype: Dtype
}

export function layerGroup(
  { D, H, E, K }: LayerDims,
  T: number,
  routing: RoutingKind,
  fromCache = false,
): string {
  return `layer/D${D}-H${H}-E${E}-K${K}/T${T}/${routing}${fromCache ? '/from-cache' : ''}`
}

/** Router and experts on T random rows, by every dispatch and executor, and the layer's twins. */
export function layerCase(layer: RandomLayer, options: LayerCaseOptions): Case {
  const { dims, config } = layer
  const { T, routing, seed, sets, fromCache } = options
  const x = randomRows(T, dims.D, seed)
  const push = logitPush(routing, T, dims)
  const route = (dispatch: DispatchName, weights = layer.weights) => {
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
  const variants = describeVariants(dims, options, spread.expertsTouched[0])
  // All dispatches take turns on the same sets: none finds what another has just read.
  let turn = 0
  const next = () => turn++ % sets
  const { dtype } = options
  const half = dtype === 'float32' ? null : heldLayer(layer.weights, dtype)
  const how = { fromCache, dtype, sessions: new Sessions() }
  const open = ({ dispatch, executor, weightSets: count }: Described): OpenVariant => {
    if (isTwin(dispatch))
      return openTwin(x, randomTwin(dims, dispatch, seed, count, dtype), { ...how, executor })
    const compute = (weights: MoeWeights) => tf.tidy(() => route(dispatch, weights).output)
    return opened(x, { sets: half ? [half] : layer.sets(sets), compute, next }, { ...how, executor })
  }
  return {
    ...layerCaseFacts(dims, options),
    spread,
    variants: variants.map((variant) => ({ ...variant, open: () => open(variant) })),
    read: () => finish(finished),
    dispose: () => {
      tf.dispose([x, finished])
      push?.dispose()
      how.sessions.dispose()
      if (half) tf.dispose(tensorsOf([half.stacked, half.experts]))
    },
  }
}

/** What a case is, before anything is made for it. */
function layerCaseFacts(dims: LayerDims, { T, routing, fromCache }: LayerCaseOptions): CaseFacts {
  return {
    group: layerGroup(dims, T, routing, fromCache),
    kind: 'layer',
    routing,
    dims,
    tokens: T,
    batch: 1,
    context: null,
    callsPerRun: 1,
    readBy: readOf(T * dims.D),
    fromCache,
  }
}

/** The variants of a case, with what is known of them before anything is made. `touched`: experts that get a token. */
function describeVariants(dims: LayerDims, options: LayerCaseOptions, touched: number): Described[] {
  const { D, E, K } = dims
  const { T, sets } = options
  const bytesPerWeight = options.dtype === 'float32' ? BYTES_PER_WEIGHT : BYTES_PER_WEIGHT / 2
  return variantsFor(T * K, options).map(([dispatch, executor]) => {
    const twin = isTwin(dispatch) ? expertParameters(D, twinWidth(dims, dispatch)) : null
    return {
      dispatch,
      executor,
      flops: isTwin(dispatch) ? 2 * T * twin! : moeLayerFlops({ T, ...dims }, dispatch),
      idealSpeedup: dispatch === 'dense' || dispatch === 'twin-total' ? 1 : E / K,
      weightBytes:
        bytesPerWeight *
        (twin ?? moeLayerWeightBytes(dims, dispatch === 'dense' ? E : touched) / BYTES_PER_WEIGHT),
      bytes: variantBytes(dims, T, dispatch, executor),
      // Between two calls of a twin all the others run.
      weightSets: isTwin(dispatch) ? Math.min(2, sets) : sets,
    }
  })
}

/** What the plan says of a case of a layer. */
export interface PlannedLayer extends Pick<LayerCaseOptions, 'T' | 'routing' | 'twins' | 'fromCache'> {
  dims: LayerDims
  /** Only the first executor, and little time: one of very many. */
  inGrid: boolean
}

/** Up to this many tokens a case of a layer needs no more time than others. */
const SMALL = 256

export function plannedLayer(
  { dims, T, routing, twins, inGrid, fromCache }: PlannedLayer,
  {
    layers,
    executors,
    dtype,
    seed,
  }: { layers: Layers; executors: readonly Executor[]; dtype: Dtype; seed: number },
): PlannedCase {
  const options = {
    T,
    routing,
    twins,
    fromCache,
    dtype,
    sets: fromCache || dtype !== 'float32' ? 1 : weightSets(dims, T, layers.cache),
    seed: seed + T,
    executors: inGrid || fromCache ? executors.slice(0, 1) : executors,
  }
  const { D, H, E, K } = dims
  return {
    facts: layerCaseFacts(dims, options),
    what: `layer, D=${D} H=${H} E=${E} K=${K} T=${T} ${routing}${fromCache ? ', from cache' : ''}`,
    seconds: NOMINAL_SECONDS[inGrid ? 'grid' : 'layer'] * (T > SMALL ? 2 : 1),
    telling: dims === layers.dims && routing === 'real' && !fromCache,
    describe: () => describeVariants(dims, options, Math.min(E, T * K)),
    make: (measure) => layers.using(dims, (layer) => measure(layerCase(layer, options)), options.sets),
  }
}

/** How the computations of a variant are run. */
interface How {
  executor: Executor
  fromCache: boolean
  dtype: Dtype
  sessions: Sessions
}

/** Sets of the same random weights at places of their own. */
function randomTwin(dims: LayerDims, twin: Twin, seed: number, sets: number, dtype: Dtype): ExpertWeights[] {
  const first = randomFeedForward(dims.D, twinWidth(dims, twin), new RandomTensors(seed), dtype)
  return [first, ...Array.from({ length: sets - 1 }, () => copyFeedForward(first))]
}

function openTwin(x: tf.Tensor2D, sets: ExpertWeights[], how: How): OpenVariant {
  let turn = 0
  const next = () => turn++ % sets.length
  const compute = (weights: ExpertWeights) => applyFeedForward(x, weights)
  const variant = opened(x, { sets, compute, next }, how)
  return {
    ...variant,
    dispose: () => {
      variant.dispose()
      tf.dispose(tensorsOf(sets))
    },
  }
}

/** A computation on x with one of several sets of weights, which makes one tensor and leaves no other behind. */
interface Computation<W> {
  sets: W[]
  compute(weights: W): tf.Tensor2D
  /** The set of the next call. */
  next(): number
}

function opened<W extends object>(
  x: tf.Tensor2D,
  { sets, compute, next }: Computation<W>,
  { executor, fromCache, dtype, sessions }: How,
): OpenVariant {
  const graph =
    executor === 'recorded' ? new RecordedComputation(x, () => compute(sets[0]), dtype, sessions) : null
  const tensors = sets.map(tensorsOf)
  let current = 0
  const run = () => {
    const output = graph?.run() ?? compute(sets[current])
    finish(output)
    output.dispose()
  }
  const take = () => {
    current = next()
    graph?.use(tensors[0], tensors[current])
  }
  return {
    run,
    ...(sets.length > 1 ? { prepare: take } : fromCache ? { prepare: run } : {}),
    dispose: () => graph?.dispose(),
  }
}

/** The layer with its experts held in a half type. */
function heldLayer(weights: MoeWeights, dtype: HalfDtype): MoeWeights {
  const node = activeTensorflow()
  const hold = <X extends tf.Tensor>({ weight }: { weight: X }) => ({
    weight: holdRounded(node, weight, dtype),
    bias: null,
  })
  const { gateUp, down } = weights.stacked as StackedExperts
  const stacked = { gateUp: hold(gateUp), down: hold(down) }
  return { ...weights, stacked, experts: cutExperts(stacked) }
}
