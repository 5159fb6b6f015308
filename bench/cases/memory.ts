import { loadedTensorflow } from '../../src/backend/tensorflow.ts'
import { BYTES_PER_WEIGHT } from '../../src/cost/index.ts'
import { expertParameters } from '../../src/cost/parameters.ts'
import type { ModelConfig } from '../../src/model/config.ts'
import type { Executor } from '../../src/model/ways.ts'
import { type Dispatch, isTwin, type LayerDims } from '../schema.ts'
import { twinWidth } from './random-weights.ts'

/** Weights of a layer, twice: they are stacked once, and the stack and its parts are there together for a moment. */
export function layerBytes({ D, H, E }: LayerDims): number {
  return 2 * BYTES_PER_WEIGHT * (D * E + E * expertParameters(D, H))
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
