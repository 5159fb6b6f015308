import * as tf from '@tensorflow/tfjs-core'
import { cachedShapes } from './attention/index.ts'
import { queryBlocks } from './attention/mask.ts'
import { type Batch, toBatch } from './batch.ts'
import { CallRouting } from './call-routing.ts'
import type { ModelConfig } from './config.ts'
import { type DecoderCall, decode, lastRows, unembed } from './decoder.ts'
import { checkCall, type ForwardOptions } from './forward-options.ts'
import { type CacheShape, KvCache } from './kv-cache.ts'
import { mostLikelyTokens } from './most-likely.ts'
import { ropeTables } from './rope.ts'
import { interventionsByLayer } from './router/interventions.ts'
import { type RoutingTrace, type TraceOptions, TraceRecorder } from './trace.ts'
import type { DispatchName } from './ways.ts'
import { allTensors, expertsOnDisk, type ModelWeights } from './weights.ts'

export interface ForwardResult {
  /** [T, V] for one sequence, [B, T, V] for a batch (padding rows included); T = 1 with `logits: 'last'`. The caller disposes it. */
  logits: tf.Tensor
  trace: RoutingTrace | null
}

/** The result of a call that was asked for a trace. */
export type Traced<Result> = Result & { trace: RoutingTrace }

/** Options that ask for a trace. */
export type Tracing = { trace: true | TraceOptions }

export interface GreedyResult {
  /** For each sequence the token with the largest logit after its last one. */
  tokens: number[]
  trace: RoutingTrace | null
}

/** A decoder with top-k expert routing: embed -> blocks -> logits. Owns its weights: `dispose()` when done. */
export class MoeModel {
  private readonly cacheShape: CacheShape

  constructor(
    readonly config: ModelConfig,
    readonly weights: ModelWeights,
    readonly dispatch: DispatchName | 'auto' = 'auto',
  ) {
    const { layers, maxPositionEmbeddings } = config
    this.cacheShape = { weights, layers: cachedShapes(layers), maxPositionEmbeddings }
  }

  createCache(): KvCache {
    return new KvCache(this.cacheShape)
  }

  /**
   * Logits for one sequence or a batch. Sequences of different lengths are padded on the left.
   * @throws InputError for an empty sequence, a token outside the vocabulary, more tokens than positions, a mask that does
   * not fit, another model's cache, an option that there is not, an intervention that the layers cannot follow, or router
   * logits that are not finite
   */
  forward(tokens: number[] | number[][], options: ForwardOptions & Tracing): Traced<ForwardResult>
  forward(tokens: number[] | number[][], options?: ForwardOptions): ForwardResult
  forward(tokens: number[] | number[][], options: ForwardOptions = {}): ForwardResult {
    this.assertServes(tokens, options)
    return this.runForward(tokens, options)
  }

  /**
   * The most likely next token of each sequence: `forward`, and then the largest logit, a tie going to the lower index.
   * @throws InputError as `forward`, and when a logit is NaN or plus infinity
   */
  greedy(
    tokens: number[] | number[][],
    options: Omit<ForwardOptions, 'logits'> & Tracing,
  ): Traced<GreedyResult>
  greedy(tokens: number[] | number[][], options?: Omit<ForwardOptions, 'logits'>): GreedyResult
  greedy(tokens: number[] | number[][], options: Omit<ForwardOptions, 'logits'> = {}): GreedyResult {
    this.assertServes(tokens, options)
    return this.runGreedy(tokens, options)
  }

  /** `forward` for arguments that were looked at. */
  protected runForward(tokens: number[] | number[][], options: ForwardOptions): ForwardResult {
    const batch = toBatch(tokens, this.config.vocabSize, options.attentionMask)
    const interventions = options.interventions
      ? interventionsByLayer(options.interventions, this.config.layers)
      : null
    const cache = options.cache ?? this.createCache()
    try {
      const extension = cache.extend(batch.mask)
      const { firstPositions, columns } = extension
      const rows = batch.rows(firstPositions)
      const positions = batch.positions(firstPositions)
      const recorder = options.trace
        ? new TraceRecorder(
            batch.realRows,
            rows,
            options.trace === true ? {} : options.trace,
            options.interventions,
          )
        : null
      const routing = new CallRouting(options.dispatch ?? this.dispatch, rows, interventions, recorder)
      try {
        const logits = tf.tidy(() => {
          const x = decode(this.config, this.weights, {
            tokens: tf.tensor1d(batch.tokens, 'int32'),
            attention: {
              batch: batch.size,
              length: batch.length,
              rope: (rope, headDim) => ropeTables(positions, batch.size, rope, headDim),
              positions: () => tf.tensor2d(Float32Array.from(positions), [batch.size, batch.length]),
              blocks: (shape) => queryBlocks(columns, batch.length, shape),
              cache,
              normEps: this.config.normEps,
            },
            padding: paddingTensors(batch),
            routing,
            recorder,
          })
          routing.assertFinite()
          const wanted = options.logits === 'last' ? lastRows(x, batch.size, batch.length) : x
          const flat = unembed(wanted, this.weights, this.config)
          const [rows, V] = flat.shape
          return Array.isArray(tokens[0]) ? tf.reshape(flat, [batch.size, rows / batch.size, V]) : flat
        })
        cache.commit(extension)
        return { logits, trace: recorder?.trace ?? null }
      } finally {
        routing.dispose()
      }
    } finally {
      if (!options.cache) cache.dispose()
    }
  }

  /** `greedy` for arguments that were looked at. */
  protected runGreedy(tokens: number[] | number[][], options: Omit<ForwardOptions, 'logits'>): GreedyResult {
    const { logits, trace } = this.runForward(tokens, { ...options, logits: 'last' })
    try {
      return { tokens: mostLikelyTokens(logits), trace }
    } finally {
      logits.dispose()
    }
  }

  private assertServes(tokens: number[] | number[][], options: ForwardOptions): void {
    if (this.weights.embedding.isDisposed) throw new Error('forward: the model was disposed of')
    checkCall(tokens, options)
    options.cache?.assertFits(this.cacheShape)
  }

  dispose(): void {
    tf.dispose(allTensors(this.weights))
    for (const experts of expertsOnDisk(this.weights)) experts.dispose()
  }
}

/** Which rows hold tokens, as tensors; null when all do. */
function paddingTensors({ realRows, tokens }: Batch): DecoderCall['padding'] {
  if (realRows.length === tokens.length) return null
  const place = new Int32Array(tokens.length).fill(realRows.length) // past the end: a row of zeros
  realRows.forEach((row, i) => {
    place[row] = i
  })
  return { realRows: tf.tensor1d(realRows, 'int32'), place: tf.tensor1d(place, 'int32') }
}
