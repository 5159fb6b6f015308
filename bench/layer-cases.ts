import * as tf from '@tensorflow/tfjs-core'
import { moeLayerFlops, moeLayerWeightBytes } from '../src/cost/index.ts'
import { expertParameters } from '../src/cost/parameters.ts'
import { Xoshiro128 } from '../src/generate/random.ts'
import { type MoeConfig, softmaxTopK } from '../src/model/config.ts'
import { DISPATCHES, type DispatchName, routeAndDispatch } from '../src/model/dispatch/index.ts'
import { linear } from '../src/model/linear.ts'
import { routingToHost } from '../src/model/router-tensors.ts'
import {
  type ExpertWeights,
  type LinearWeights,
  type MoeWeights,
  stackExperts,
} from '../src/model/weights.ts'
import { spreadOf } from './spread.ts'
import type { Case, LayerDims, LayerFacts, Variant } from './types.ts'

/** Up to this many assignments (T K) `gather` is measured too; it is for few tokens, and far beyond it only wastes time. */
export const GATHER_UP_TO = 64

/** One mixture layer with random weights, that cases of several T share. */
export interface RandomLayer {
  dims: LayerDims
  config: MoeConfig
  weights: MoeWeights
  dispose(): void
}

/** Weights uniform with the variance of 1 / inputs, so that values keep their size from layer to layer. */
export function randomLayer(dims: LayerDims, seed: number): RandomLayer {
  const { D, H, E, K } = dims
  const random = Xoshiro128.fromSeed(seed)
  const matrix = (rows: number, columns: number, inputs = rows): LinearWeights => ({
    weight: randomTensor(rows, columns, Math.sqrt(3 / inputs), random),
    bias: null,
  })
  const weights: MoeWeights = {
    kind: 'moe',
    router: matrix(D, E),
    scoreBias: null,
    ...asLoaded(Array.from({ length: E }, () => ({ gateUp: matrix(2 * H, D, D), down: matrix(H, D) }))),
  }
  return {
    dims,
    config: { kind: 'moe', intermediateSize: H, router: softmaxTopK(E, K) },
    weights,
    dispose: () => {
      const linears = weights.experts.flatMap(({ gateUp, down }) => [gateUp, down])
      tf.dispose([weights.router, ...linears].map(({ weight }) => weight))
      tf.dispose(Object.values(weights.stacked ?? {}))
    },
  }
}

export function layerFacts(dims: LayerDims): LayerFacts {
  const { D, H, E, K } = dims
  const parameters = (experts: number) => D * E + experts * expertParameters(D, H)
  return { ...dims, totalParameters: parameters(E), activeParameters: parameters(K) }
}

/** Experts in the form that a checkpoint is loaded to: stacked where the device can cut a stack without copying. */
function asLoaded(experts: ExpertWeights[]): Pick<MoeWeights, 'experts' | 'stacked'> {
  return tf.getBackend() === 'tensorflow' ? stackExperts(experts) : { experts }
}

/** Router and experts on T random rows. The router is random too, so the load of experts is as uneven as chance has it. */
export function layerCase(layer: RandomLayer, T: number, seed: number): Case {
  const { dims, config, weights } = layer
  const x = randomTensor(T, dims.D, Math.sqrt(3), Xoshiro128.fromSeed(seed)) // variance 1
  const compute = (dispatch: DispatchName) =>
    tf.tidy(() => routeAndDispatch(x, linear(x, weights.router), weights, config, dispatch).output)
  const spread = spreadOf([tokensPerExpert(layer, x)])
  const variants = DISPATCHES.filter((name) => name !== 'gather' || T * dims.K <= GATHER_UP_TO).map(
    (dispatch): Variant => ({
      dispatch,
      flops: moeLayerFlops({ T, ...dims }, dispatch),
      idealSpeedup: dispatch === 'dense' ? 1 : dims.E / dims.K,
      weightBytes: moeLayerWeightBytes(dims, dispatch === 'dense' ? dims.E : spread.expertsTouched[0]),
      run: () => {
        const output = compute(dispatch)
        output.dataSync()
        output.dispose()
      },
    }),
  )
  const finished = compute('sparse')
  finished.dataSync()
  return {
    kind: 'layer',
    tokens: T,
    context: null,
    callsPerRun: 1,
    spread,
    variants,
    read: () => finished.dataSync(),
    dispose: () => tf.dispose([x, finished]),
  }
}

/** [E] */
function tokensPerExpert({ weights, config, dims }: RandomLayer, x: tf.Tensor2D): Int32Array {
  return tf.tidy(() => {
    const { routing } = routeAndDispatch(x, linear(x, weights.router), weights, config, 'sparse')
    return ('tokensPerExpert' in routing ? routing : routingToHost(routing, dims.E)).tokensPerExpert
  })
}

/** Uniform in [-limit, limit). */
function randomTensor(rows: number, columns: number, limit: number, random: Xoshiro128): tf.Tensor2D {
  const values = new Float32Array(rows * columns)
  for (let i = 0; i < values.length; i++) values[i] = (random.next() / 2 ** 31 - 1) * limit
  return tf.tensor2d(values, [rows, columns])
}
