import { loadedTensorflow } from '../../src/backend/tensorflow.ts'
import { BYTES_PER_WEIGHT, moeLayerFlops, moeLayerWeightBytes } from '../../src/cost/index.ts'
import { expertParameters } from '../../src/cost/parameters.ts'
import type { MachineReadings } from '../../src/device/index.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import type { Executor } from '../../src/model/ways.ts'
import { type Dispatch, isTwin, type LayerDims } from '../schema.ts'
import { GATHER_UP_TO } from './case.ts'
import { twinWidth } from './random-weights.ts'

/** Sets of a layer's weights of which the first is there twice: its experts are stacked, and stack and parts are there for a moment. */
export function layerBytes(dims: LayerDims, sets = 1): number {
  return (1 + sets) * moeLayerWeightBytes(dims, dims.E)
}

/** What all sets of a layer's weights together may take; fewer sets are made where so many would take more. */
const SETS_UP_TO = 2 ** 30
/** And so many they are at most: making them takes time that a case would measure in. */
const MOST_SETS = 12
/** A call that reads so many times what the caches hold has driven out at its end what it began with. */
const FAR_BEYOND = 4
/** Where arithmetic takes so many times as long as reading the weights, it makes no difference where these come from. */
const ARITHMETIC_BOUND = 4

/**
 * Sets of a layer's weights that calls on T tokens take turns on: as many that, when a set's turn comes again, more has been read than
 * the caches hold, so that no variant finds what another has read.
 */
export function weightSets(dims: LayerDims, T: number, { cacheBytes, machine }: CacheFacts): number {
  const { E, K } = dims
  const [dense, sparse] = [E, Math.min(E, T * K)].map((experts) => moeLayerWeightBytes(dims, experts))
  const readMs = sparse / machine.memoryGbPerS / 1e6
  const productMs = moeLayerFlops({ T, ...dims }, 'sparse') / machine.matmulGflops / 1e6
  const bytes = T * K <= GATHER_UP_TO ? (dense + 2 * sparse) / 3 : (dense + sparse) / 2
  if (bytes >= FAR_BEYOND * cacheBytes || productMs >= ARITHMETIC_BOUND * readMs) return 1
  const wanted = 1 + Math.ceil(cacheBytes / bytes)
  return wanted > MOST_SETS && MOST_SETS * bytes < cacheBytes / 2
    ? 1 // too small for that: it stays in the caches, and rows say so
    : Math.max(1, Math.min(wanted, MOST_SETS, Math.floor(SETS_UP_TO / dense)))
}

/** What the number of sets depends on. */
export interface CacheFacts {
  cacheBytes: number
  machine: Pick<MachineReadings, 'matmulGflops' | 'memoryGbPerS'>
}

/** What a variant of a layer holds at most while it runs on T tokens: activations, and a twin's weights. */
export function variantBytes(dims: LayerDims, T: number, dispatch: Dispatch, executor: Executor): number {
  const { D, H, E } = dims
  const own = isTwin(dispatch) ? expertParameters(D, twinWidth(dims, dispatch)) : 0
  const inGraph = executor === 'recorded' && onGpu() ? own || E * expertParameters(D, H) : 0
  return BYTES_PER_WEIGHT * (own + inGraph + variantActivations(dims, T, dispatch, executor))
}

/** The least that a case of T tokens holds: its rows, the layer's output for them, and the leanest way to it. */
export function caseBytes(dims: LayerDims, T: number): number {
  return 2 * BYTES_PER_WEIGHT * T * dims.D + variantBytes(dims, T, 'sparse', 'eager')
}

/** On a card a graph's variables are copies of the weights; on a processor they share their memory. */
function onGpu(): boolean {
  return loadedTensorflow()?.isUsingGpuDevice === true
}

/** In numbers. Inside a feed-forward a row has gate and up together, their halves, and the hidden values. */
function variantActivations(dims: LayerDims, T: number, dispatch: Dispatch, executor: Executor): number {
  const { D, H, E, K } = dims
  const inside = (rows: number, width: number) => 5 * rows * width
  if (isTwin(dispatch)) return inside(T, twinWidth(dims, dispatch)) + 2 * T * D
  // A graph may run all experts at the same time; op by op they come one after the other.
  if (dispatch === 'dense') return (executor === 'recorded' ? E : 1) * inside(T, H) + 4 * T * D
  return inside(T * K, H) + 3 * T * K * D + 2 * T * D
}

/** What a forward of a model holds at most: activations of one layer, and attention over all its keys. */
export function modelBytes(
  { hiddenSize: D, layers }: ModelConfig,
  { tokens: T, context: S }: { tokens: number; context: number },
  dispatch: Dispatch,
  executor: Executor,
): number {
  const scores = 3 * T * S * Math.max(...layers.map(({ attention }) => attention.numHeads))
  const widest = layers.map(({ feedForward }) => {
    const { intermediateSize: H } = feedForward
    const { numExperts: E, topK: K } =
      feedForward.kind === 'moe' ? feedForward.router : { numExperts: 1, topK: 1 }
    return variantActivations({ D, H, E, K }, T, dispatch, executor)
  })
  return BYTES_PER_WEIGHT * (scores + 8 * T * D + Math.max(0, ...widest))
}
