import * as tf from '@tensorflow/tfjs-core'
import type { Dtype } from '../../src/backend/dtypes.ts'
import { BYTES_PER_WEIGHT } from '../../src/cost/index.ts'
import { expertParameters } from '../../src/cost/parameters.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import type { ModelConfig, MoeConfig } from '../../src/model/config.ts'
import type { ForwardOptions } from '../../src/model/forward-options.ts'
import type { KvCache } from '../../src/model/kv-cache.ts'
import { type ForwardResult, MoeModel } from '../../src/model/transformer.ts'
import type { Executor } from '../../src/model/ways.ts'
import type { ExpertWeights, ModelWeights } from '../../src/model/weights.ts'
import type { Twin } from '../schema.ts'
import { RandomTensors, randomFeedForward, tensorsOf, twinWidth } from './random-weights.ts'

/** A model whose forward runs by either executor, on weights that belong to somebody else. */
export class MeasuredModel {
  readonly eager: MoeModel
  private recorded: RecordedExecutor | undefined

  constructor(
    readonly config: ModelConfig,
    weights: ModelWeights,
    readonly dtype: Dtype = 'float32',
  ) {
    this.eager = new MoeModel(config, weights)
  }

  forward(tokens: number[][], executor: Executor, options: ForwardOptions): ForwardResult {
    if (executor === 'eager') return this.eager.forward(tokens, options)
    this.recorded ??= new RecordedExecutor(this.eager, this.dtype)
    return this.recorded.serves(tokens, options)
      ? this.recorded.forward(tokens, options)
      : this.eager.forward(tokens, options)
  }

  /** Ends the graphs. */
  dispose(): void {
    this.recorded?.dispose()
    this.recorded = undefined
  }
}

/** The same model with a plain feed-forward, of random weights, in place of each mixture. */
export class TwinModel extends MeasuredModel {
  private readonly own: ExpertWeights[]

  constructor(model: MoeModel, twin: Twin, seed: number, dtype?: Dtype) {
    const config = twinConfig(model.config, twin)
    const numbers = new RandomTensors(seed)
    const own: ExpertWeights[] = []
    const blocks = model.weights.blocks.map((block, i) => {
      if (block.feedForward.kind === 'dense') return block
      const { intermediateSize } = config.layers[i].feedForward
      const expert = randomFeedForward(config.hiddenSize, intermediateSize, numbers, dtype)
      own.push(expert)
      return { ...block, feedForward: { kind: 'dense' as const, expert } }
    })
    super(config, { ...model.weights, blocks }, dtype)
    this.own = own
  }

  override dispose(): void {
    super.dispose()
    tf.dispose(tensorsOf(this.own))
  }
}

/** The shared expert, which every token passes through, is part of what a twin replaces. */
export function twinConfig(config: ModelConfig, twin: Twin): ModelConfig {
  const width = ({ router, intermediateSize: H, sharedExpert }: MoeConfig) =>
    twinWidth({ H, E: router.numExperts, K: router.topK }, twin) + (sharedExpert?.intermediateSize ?? 0)
  return {
    ...config,
    layers: config.layers.map(({ attention, feedForward }) => ({
      attention,
      feedForward:
        feedForward.kind === 'dense'
          ? feedForward
          : { kind: 'dense', intermediateSize: width(feedForward), bias: false },
    })),
  }
}

/** Bytes of a twin's own weights. */
export function twinBytes(config: ModelConfig, twin: Twin): number {
  const { layers } = twinConfig(config, twin)
  const own = layers.filter((_, i) => config.layers[i].feedForward.kind === 'moe')
  const weights = own.map(({ feedForward }) =>
    expertParameters(config.hiddenSize, feedForward.intermediateSize),
  )
  return BYTES_PER_WEIGHT * weights.reduce((a, b) => a + b, 0)
}

/** Caches that hold prompts, which one forward has read: every decode run needs a fresh one. */
export class PromptCaches {
  current: KvCache | undefined
  private readonly filled: KvCache
  private readonly sequences: number[]

  constructor(model: MoeModel, prompts: number[][]) {
    this.filled = model.createCache()
    this.sequences = [...prompts.keys()]
    tf.dispose(model.forward(prompts, { cache: this.filled, logits: 'last' }).logits)
  }

  fresh(): KvCache {
    this.current?.dispose()
    this.current = this.filled.select(this.sequences)
    return this.current
  }

  /** Ends the current cache too. */
  dispose(): void {
    this.current?.dispose()
    this.current = undefined
    this.filled.dispose()
  }
}
