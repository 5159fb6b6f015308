import * as tf from '@tensorflow/tfjs-core'
import { expertParameters } from '../../src/cost/parameters.ts'
import { type MemoryLimit, memoryProblem } from '../../src/device/memory.ts'
import { type MoeConfig, softmaxTopK } from '../../src/model/config.ts'
import { asLoaded, type MoeWeights } from '../../src/model/weights.ts'
import type { LayerDims, LayerFacts } from '../schema.ts'
import { type CacheFacts, layerBytes } from './memory.ts'
import { copyFeedForward, RandomTensors, randomFeedForward, tensorsOf } from './random-weights.ts'
import { LAYER_ROUTING } from './routing.ts'

/** One mixture layer with random weights, that cases of several T share. */
export interface RandomLayer {
  dims: LayerDims
  config: MoeConfig
  weights: MoeWeights
  /** The same numbers at that many places, the weights themselves the first. */
  sets(count: number): MoeWeights[]
  dispose(): void
}

export function randomLayer(dims: LayerDims, seed: number): RandomLayer {
  const { D, H, E, K } = dims
  const numbers = new RandomTensors(seed)
  const router = { weight: numbers.weights(D, E, D), bias: null }
  const experts = asLoaded(Array.from({ length: E }, () => randomFeedForward(D, H, numbers)))
  const weights: MoeWeights = { kind: 'moe', router, scoreBias: null, ...experts }
  const sets = [weights]
  return {
    dims,
    config: { kind: 'moe', intermediateSize: H, router: softmaxTopK(E, K) },
    weights,
    sets: (count) => {
      while (sets.length < count) sets.push(copied(weights))
      return sets.slice(0, count)
    },
    dispose: () => tf.dispose(tensorsOf(sets)),
  }
}

function copied({ router, experts, ...rest }: MoeWeights): MoeWeights {
  const own = asLoaded(experts.map(copyFeedForward))
  return { ...rest, router: { ...router, weight: tf.mul(router.weight, 1) }, ...own }
}

/** T rows for a layer of width D, variance 1. */
export function randomRows(T: number, D: number, seed: number): tf.Tensor2D {
  return new RandomTensors(seed).matrix(T, D, Math.sqrt(3))
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

/** Random layers: the one of the base sizes is kept, since most cases are about it; others live as long as their case. */
export class Layers {
  private base: RandomLayer | undefined

  constructor(
    readonly dims: LayerDims,
    private readonly seed: number,
    private readonly memory: MemoryLimit,
    readonly cache: CacheFacts,
  ) {}

  /** Why there is no room for so many sets of the layer's weights, or null when the work is done. */
  async using(
    dims: LayerDims,
    work: (layer: RandomLayer) => Promise<void>,
    sets = 1,
  ): Promise<string | null> {
    const isBase = dims === this.dims
    const known = isBase ? this.base : undefined
    const problem = known && sets === 1 ? null : memoryProblem(layerBytes(dims, sets), this.memory)
    if (problem !== null) return problem
    const layer = known ?? randomLayer(dims, this.seed)
    if (isBase) this.base = layer
    try {
      await work(layer)
      return null
    } finally {
      if (!isBase) layer.dispose()
    }
  }

  dispose(): void {
    this.base?.dispose()
    this.base = undefined
  }
}
