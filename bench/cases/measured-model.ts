import * as tf from '@tensorflow/tfjs-core'
import { BYTES_PER_WEIGHT } from '../../src/cost/index.ts'
import { expertParameters } from '../../src/cost/parameters.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import type { Executor } from '../../src/load-model.ts'
import type { KeysValues } from '../../src/model/attention.ts'
import type { ModelConfig, MoeConfig } from '../../src/model/config.ts'
import type { KvCache } from '../../src/model/kv-cache.ts'
import { type ForwardOptions, type ForwardResult, MoeModel } from '../../src/model/transformer.ts'
import type { ExpertWeights, ModelWeights } from '../../src/model/weights.ts'
import type { Twin } from '../schema.ts'
import { disposeFeedForward, randomFeedForward, twinWidth } from './feed-forward.ts'
import { RandomTensors } from './random-tensors.ts'

/** A model whose forward runs by either executor, on weights that belong to somebody else. */
export class MeasuredModel {
  readonly eager: MoeModel
  private recorded: RecordedExecutor | undefined

  constructor(
    readonly config: ModelConfig,
    weights: ModelWeights,
  ) {
    this.eager = new MoeModel(config, weights)
  }

  forward(tokens: number[][], executor: Executor, options: ForwardOptions): ForwardResult {
    if (executor === 'eager') return this.eager.forward(tokens, options)
    this.recorded ??= new RecordedExecutor(this.eager)
    return this.recorded.forward(tokens, options)
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

  constructor(model: MoeModel, twin: Twin, seed: number) {
    const config = twinConfig(model.config, twin)
    const numbers = new RandomTensors(seed)
    const own: ExpertWeights[] = []
    const blocks = model.weights.blocks.map((block, i) => {
      if (block.feedForward.kind === 'dense') return block
      const expert = randomFeedForward(config.hiddenSize, config.layers[i].intermediateSize, numbers)
      own.push(expert)
      return { ...block, feedForward: { kind: 'dense' as const, expert } }
    })
    super(config, { ...model.weights, blocks })
    this.own = own
  }

  override dispose(): void {
    super.dispose()
    this.own.forEach(disposeFeedForward)
  }
}

/** The shared expert, which every token passes through, is part of what a twin replaces. */
export function twinConfig(config: ModelConfig, twin: Twin): ModelConfig {
  const width = ({ router, intermediateSize: H, sharedExpert }: MoeConfig) =>
    twinWidth({ H, E: router.numExperts, K: router.topK }, twin) + (sharedExpert?.intermediateSize ?? 0)
  return {
    ...config,
    layers: config.layers.map((layer) =>
      layer.kind === 'dense' ? layer : { kind: 'dense', intermediateSize: width(layer), bias: false },
    ),
  }
}

/** Bytes of a twin's own weights. */
export function twinBytes(config: ModelConfig, twin: Twin): number {
  const { layers } = twinConfig(config, twin)
  const own = layers.filter((_, i) => config.layers[i].kind === 'moe')
  const weights = own.map((layer) => expertParameters(config.hiddenSize, layer.intermediateSize))
  return BYTES_PER_WEIGHT * weights.reduce((a, b) => a + b, 0)
}

/**
 * Caches that hold a prompt: one is filled by a forward, the others take its keys and values over when they are first
 * used, sharing their memory, so that a fresh one, which every decode run needs, costs next to nothing.
 */
export class PromptCaches {
  current: KvCache | undefined
  private readonly filled: KvCache
  private readonly layers: KeysValues[]

  constructor(
    private readonly model: MoeModel,
    private readonly batch: number,
    prompts: number[][],
  ) {
    this.filled = model.createCache()
    tf.dispose(model.forward(prompts, { cache: this.filled, logits: 'last' }).logits)
    this.layers = this.filled.handOver({ release: () => this.layers }) as KeysValues[]
  }

  fresh(): KvCache {
    this.current?.dispose()
    const cache = this.model.createCache()
    // With a sliding window fewer columns are left than there were tokens; positions then count from the first of them.
    const stored = this.layers[0].keys.shape[2]
    const extension = cache.extend(Array.from({ length: this.batch }, () => new Uint8Array(stored).fill(1)))
    cache.handOver({ release: () => this.layers.map(shared) })
    cache.commit(extension)
    this.current = cache
    return cache
  }

  /** Ends the current cache too. */
  dispose(): void {
    this.current?.dispose()
    this.current = undefined
    this.filled.dispose()
  }
}

function shared({ keys, values }: KeysValues): KeysValues {
  return { keys: tf.keep(tf.clone(keys)), values: tf.keep(tf.clone(values)) }
}
