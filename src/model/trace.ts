import type * as tf from '@tensorflow/tfjs-core'
import { type Routing, type RoutingTensors, routingToHost } from './router.ts'

/** What one mixture layer decided for the T real tokens of a call, sequence after sequence (padding left out). */
export interface LayerTrace extends Routing {
  layer: number
  /** E */
  numExperts: number
  /** K */
  topK: number
  /** [T, E] row-major, before softmax or sigmoid. */
  routerLogits: Float32Array
}

/** Intermediate values [T, D] row-major, for comparing with another implementation. */
export interface HiddenStates {
  embed: Float32Array
  /** Per layer: attention and feed-forward before they are added to the residual, and the sum after both. */
  layers: { attention: Float32Array; feedForward: Float32Array; output: Float32Array }[]
  finalNorm: Float32Array
}

/** Routing decisions of one call, handed out by `forward`; never kept by the model. */
export interface RoutingTrace {
  layers: LayerTrace[]
  hiddenStates: HiddenStates | null
}

export interface TraceOptions {
  /** Also keep intermediate values. */
  hiddenStates?: boolean
}

/** Collects a trace while a forward runs. `rows` are the indices of real tokens among the call's B x T rows. */
export class TraceRecorder {
  readonly trace: RoutingTrace

  constructor(
    private readonly rows: Int32Array,
    options: TraceOptions,
  ) {
    const hiddenStates = { embed: new Float32Array(), layers: [], finalNorm: new Float32Array() }
    this.trace = { layers: [], hiddenStates: options.hiddenStates ? hiddenStates : null }
  }

  routing(layer: number, routerLogits: tf.Tensor2D, routing: Routing | RoutingTensors): void {
    const E = routerLogits.shape[1]
    const host = 'tokensPerExpert' in routing ? routing : routingToHost(routing, E)
    const topK = host.expertIndices.length / routerLogits.shape[0]
    const expertIndices = Int32Array.from(this.pick(host.expertIndices, topK))
    const tokensPerExpert = new Int32Array(E)
    for (const e of expertIndices) tokensPerExpert[e]++
    this.trace.layers.push({
      layer,
      numExperts: E,
      topK,
      routerLogits: this.pick(routerLogits.dataSync() as Float32Array, E),
      expertIndices,
      expertWeights: this.pick(host.expertWeights, topK),
      tokensPerExpert,
    })
  }

  embed(x: tf.Tensor2D): void {
    if (this.trace.hiddenStates) this.trace.hiddenStates.embed = this.values(x)
  }

  layer(attention: tf.Tensor2D, feedForward: tf.Tensor2D, output: tf.Tensor2D): void {
    this.trace.hiddenStates?.layers.push({
      attention: this.values(attention),
      feedForward: this.values(feedForward),
      output: this.values(output),
    })
  }

  finalNorm(x: tf.Tensor2D): void {
    if (this.trace.hiddenStates) this.trace.hiddenStates.finalNorm = this.values(x)
  }

  private values(x: tf.Tensor2D): Float32Array {
    return this.pick(x.dataSync() as Float32Array, x.shape[1])
  }

  private pick(values: Float32Array | Int32Array, width: number): Float32Array {
    const picked = new Float32Array(this.rows.length * width)
    this.rows.forEach((row, i) => {
      picked.set(values.subarray(row * width, (row + 1) * width), i * width)
    })
    return picked
  }
}
