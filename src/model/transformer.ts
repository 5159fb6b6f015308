import * as tf from '@tensorflow/tfjs-core'
import { type AttentionContext, attention, attentionMask } from './attention.ts'
import { type Batch, toBatch } from './batch.ts'
import { CallRouting, type Training } from './call-routing.ts'
import type { ModelConfig, MoeConfig } from './config.ts'
import type { DispatchName } from './dispatch/index.ts'
import { applyExpert } from './experts.ts'
import { type Intervention, type Interventions, interventionFor } from './interventions.ts'
import { KvCache } from './kv-cache.ts'
import { linear } from './linear.ts'
import { rmsNorm } from './norm.ts'
import { ropeFrequencies, ropeTables } from './rope.ts'
import { type RoutingTrace, type TraceOptions, TraceRecorder } from './trace.ts'
import { allTensors, type ModelWeights } from './weights.ts'

export interface ForwardOptions {
  /** Continue after what this cache holds, and add the new tokens to it. */
  cache?: KvCache
  /** Hand out what the routers decided; `true` or options. */
  trace?: boolean | TraceOptions
  /** Per sequence, 1 for a token and 0 for (left) padding; needed only when the rows of `tokens` are already padded. */
  attentionMask?: number[][]
  /** How experts are run; default: the model's. */
  dispatch?: DispatchName | 'auto'
  /** Changes to routing for this call. */
  interventions?: Interventions
  /** `last`: logits of each sequence's last token only, which is all that generating needs. Default `all`. */
  logits?: 'all' | 'last'
  /** Use only ops that have gradients (experts run sparse), and hear what the routers decided. Takes no interventions. */
  training?: Training
}

export interface ForwardResult {
  /** [T, V] for one sequence, [B, T, V] for a batch (padding rows included); T = 1 with `logits: 'last'`. The caller disposes it. */
  logits: tf.Tensor
  trace: RoutingTrace | null
}

/** A decoder with top-k expert routing: embed -> blocks -> logits. Owns its weights: `dispose()` when done. */
export class MoeModel {
  private readonly ropeFrequencies: Float32Array

  constructor(
    readonly config: ModelConfig,
    readonly weights: ModelWeights,
    readonly dispatch: DispatchName | 'auto' = 'auto',
  ) {
    this.ropeFrequencies = ropeFrequencies(config.rope, config.attention.headDim)
  }

  createCache(): KvCache {
    return new KvCache(this.config.layers.length, this.config.attention.slidingWindow)
  }

  /**
   * Logits for one sequence or a batch. Sequences of different lengths are padded on the left.
   * @throws InputError for an empty sequence, a token outside the vocabulary, a mask that does not fit, an intervention
   * that the layers cannot follow, or router logits that are not finite
   */
  forward(tokens: number[] | number[][], options: ForwardOptions = {}): ForwardResult {
    const batch = toBatch(tokens, this.config.vocabSize, options.attentionMask)
    if (options.training && options.interventions) throw new Error('forward: training takes no interventions')
    const interventions = this.interventionsFor(options.interventions)
    const cache = options.cache ?? this.createCache()
    try {
      const { firstPositions, columns } = cache.extend(batch.mask)
      const rows = batch.rows(firstPositions)
      const recorder = options.trace
        ? new TraceRecorder(batch.realRows, rows, options.trace === true ? {} : options.trace)
        : null
      const routing = new CallRouting(
        options.dispatch ?? this.dispatch,
        rows,
        interventions,
        recorder,
        options.training,
      )
      try {
        const logits = tf.tidy(() => {
          const context = {
            batch: batch.size,
            rope: ropeTables(batch.positions(firstPositions), batch.size, this.ropeFrequencies),
            mask: attentionMask(columns, batch.length, this.config.attention),
            cache,
            normEps: this.config.normEps,
          }
          const x = this.hidden(batch, context, routing, recorder)
          routing.assertFinite()
          return this.unembed(options.logits === 'last' ? lastRows(x, batch) : x, tokens)
        })
        return { logits, trace: recorder?.trace ?? null }
      } finally {
        routing.dispose()
      }
    } finally {
      if (!options.cache) cache.dispose()
    }
  }

  dispose(): void {
    tf.dispose(allTensors(this.weights))
  }

  /** Interventions as each layer sees them, checked before anything runs; null where nobody intervenes. */
  private interventionsFor(interventions?: Interventions): (Intervention | undefined)[] | null {
    if (!interventions) return null
    return this.config.layers.map((layer, i) =>
      layer.kind === 'moe' ? interventionFor(interventions, layer.router, i) : undefined,
    )
  }

  /** The residual stream after the last norm [B T, D]. */
  private hidden(
    batch: Batch,
    context: AttentionContext,
    routing: CallRouting,
    recorder: TraceRecorder | null,
  ): tf.Tensor2D {
    const { config, weights } = this
    let x = tf.gather(weights.embedding, tf.tensor1d(batch.tokens, 'int32')) as tf.Tensor2D // [B T, D]
    recorder?.embed(x)
    weights.blocks.forEach((block, layer) => {
      x = tf.tidy(() => {
        const normed = rmsNorm(x, block.attentionNorm, config.normEps)
        const mixed = attention(normed, block.attention, config.attention, context, layer) // [B T, D]
        const attended = tf.add(x, mixed) as tf.Tensor2D
        const fedIn = rmsNorm(attended, block.feedForwardNorm, config.normEps)
        const fed = this.feedForward(fedIn, layer, batch, routing) // [B T, D]
        const output = tf.add(attended, fed) as tf.Tensor2D
        recorder?.layer(mixed, fed, output)
        return output
      })
    })
    const normed = rmsNorm(x, weights.finalNorm, config.normEps)
    recorder?.finalNorm(normed)
    return normed
  }

  /** A plain SwiGLU, or router and experts. x [B T, D] -> [B T, D]. Padding rows are not computed. */
  private feedForward(x: tf.Tensor2D, layer: number, batch: Batch, routing: CallRouting): tf.Tensor2D {
    const weights = this.weights.blocks[layer].feedForward
    return withoutPadding(x, batch, (real) =>
      weights.kind === 'dense'
        ? applyExpert(real, weights.expert)
        : routing.run(real, weights, this.config.layers[layer] as MoeConfig, layer),
    )
  }

  /** Hidden states to logits; the tied form puts the large matrix on the left, where no backend transposes it. */
  private unembed(x: tf.Tensor2D, tokens: number[] | number[][]): tf.Tensor {
    const { unembedding, embedding } = this.weights
    const logits = unembedding ? linear(x, unembedding) : tf.transpose(tf.matMul(embedding, x, false, true))
    return Array.isArray(tokens[0]) ? tf.reshape(logits, [tokens.length, -1, this.config.vocabSize]) : logits
  }
}

/** Runs `f` on the rows that hold tokens; padding rows become zeros. */
function withoutPadding(x: tf.Tensor2D, batch: Batch, f: (real: tf.Tensor2D) => tf.Tensor2D): tf.Tensor2D {
  if (batch.realRows.length === batch.tokens.length) return f(x)
  return tf.tidy(() => {
    const real = f(tf.gather(x, tf.tensor1d(batch.realRows, 'int32')))
    const place = new Int32Array(batch.tokens.length).fill(batch.realRows.length) // the row of zeros
    batch.realRows.forEach((row, i) => {
      place[row] = i
    })
    return tf.gather(tf.concat([real, tf.zeros<tf.Rank.R2>([1, x.shape[1]])], 0), tf.tensor1d(place, 'int32'))
  })
}

/** The last row of each sequence: [B T, D] -> [B, D]. Padding is on the left, so the last column is always a token. */
function lastRows(x: tf.Tensor2D, { size, length }: Batch): tf.Tensor2D {
  const byColumn = tf.reshape(x, [size, length, x.shape[1]])
  return tf.reshape(tf.slice(byColumn, [0, length - 1, 0], [size, 1, x.shape[1]]), [size, x.shape[1]])
}
