import * as tf from '@tensorflow/tfjs-core'
import { onBackend } from '../backend/on-backend.ts'
import { activeTensorflow } from '../backend/tensorflow.ts'
import { tensorflowOps } from '../backend/tensorflow-ops.ts'
import { cachedShapes } from '../model/attention/index.ts'
import type { Remembered } from '../model/attention/kind.ts'
import type { ModelConfig, MoeConfig } from '../model/config.ts'
import { decode, unembed } from '../model/decoder.ts'
import type { CacheHolder, KvCache } from '../model/kv-cache.ts'
import { moe } from '../model/moe.ts'
import type { RoutingTensors } from '../model/router/types.ts'
import type { DispatchName } from '../model/ways.ts'
import type { ModelWeights, MoeWeights } from '../model/weights.ts'
import { cacheShape, cacheValue, GraphCache } from './graph-cache.ts'
import { inHalf } from './half.ts'
import type { HalfWeights } from './half-weights.ts'
import { type Plan, planFor } from './plan.ts'
import { type Recording, record } from './recorder.ts'
import { GraphSession } from './session.ts'
import { packedLength, packInputs, type StepInputs, type StepSizes, unpackInputs } from './step-inputs.ts'

/** What makes one recorded step differ from another: everything that is a constant of its graph. */
export interface StepShape extends StepSizes {
  dispatch: DispatchName | 'auto'
  logits: 'all' | 'last'
}

/**
 * One forward of fixed shape as a TensorFlow graph: tokens and where they stand in, logits out, the kv-cache in variables
 * that are updated in place. Holds at most one cache at a time. What may be fetched:
 *
 * - `logits` [rows, V] of all rows or each sequence's last, and `hidden` [rows, D], what they are made from
 * - `greedy` [2 + rows]: `finite`, the same of the logits, and the index of each row's largest logit
 * - `finite`: a number, finite if all router logits are; not there without mixture layers
 * - `LAYER/routerLogits`, `LAYER/expertIndices`, `LAYER/expertWeights`
 *
 * With `halves` the weights but routers and unembedding are multiplied in half precision; all of these stay float32.
 */
export class RecordedStep implements CacheHolder {
  private readonly backend = tf.getBackend()
  private readonly session: GraphSession
  private readonly cache: Pick<GraphCache, 'names' | 'copies'>
  private held: KvCache | null = null

  constructor(
    private readonly config: ModelConfig,
    weights: ModelWeights,
    readonly shape: StepShape,
    halves: HalfWeights | null = null,
    plan = planFor({ rows: shape.batch * shape.tokens, dtype: halves?.dtype }),
  ) {
    const scope = tf.engine()
    scope.startScope('recording')
    try {
      const { recording, cache } = recordStep(config, weights, shape, plan)
      const rounds = halves && plan.dtype !== 'float32'
      this.cache = cache
      this.session = new GraphSession(rounds ? inHalf(recording, halves, choosing(weights)) : recording, plan)
    } finally {
      scope.endScope()
    }
  }

  /** Runs on `cache`: its columns move into the graph's variables unless they are there already. */
  run(cache: KvCache, inputs: StepInputs, outputs: string[]): tf.Tensor[] {
    this.hold(cache)
    const packed = tf.tensor1d(packInputs(inputs, this.shape), 'int32')
    try {
      return this.session.run({ packed }, outputs)
    } finally {
      packed.dispose()
    }
  }

  release(): Remembered[] {
    // The owner may ask for it while another model's backend is active.
    const layers = onBackend(this.backend, () =>
      this.session.fetch(this.cache.copies).map((both) => {
        const parts = tf.unstack(both) as tf.Tensor4D[]
        both.dispose()
        return parts.map((part) => tf.keep(part)) // it may be asked for inside an eager forward's tidy
      }),
    )
    this.held = null
    return layers
  }

  /** A cache that is held goes back to its owner first. */
  dispose(): void {
    this.held?.park()
    this.session.dispose()
  }

  private hold(cache: KvCache): void {
    if (cache.isHeldBy(this)) return
    this.held?.park()
    const layers = cache.handOver(this)
    this.held = cache
    const shapes = cachedShapes(this.config.layers)
    const values = layers.map((layer, i) => cacheValue(layer, cacheShape(shapes[i], this.shape)))
    this.session.assign(Object.fromEntries(values.map((value, i) => [this.cache.names[i], value])))
    tf.dispose(values)
    for (const layer of layers) if (layer) tf.dispose(layer)
  }
}

/**
 * The matrices, by `dataId`, whose products are compared with each other to choose an expert or a token: rounded, near ones
 * would be equal, and another would be chosen.
 */
function choosing({ blocks, unembedding }: ModelWeights): Set<object> {
  const routers = blocks.flatMap(({ feedForward }) => (feedForward.kind === 'moe' ? feedForward.router : []))
  return new Set([...routers, ...(unembedding ? [unembedding] : [])].map(({ weight }) => weight.dataId))
}

/** Runs the decoder once on zeros and records it. */
function recordStep(
  config: ModelConfig,
  weights: ModelWeights,
  shape: StepShape,
  { fused }: Plan,
): { recording: Recording; cache: Pick<GraphCache, 'names' | 'copies'> } {
  const packed = tf.zeros<tf.Rank.R1>([packedLength(shape)], 'int32')
  let cache: GraphCache | undefined
  const routing = new GraphRouting(shape)
  const recording = record(
    { packed },
    (recorder) => {
      const { tokens, lastRows, first, attention } = unpackInputs(packed, shape)
      cache = new GraphCache(recorder, first, cachedShapes(config.layers), shape)
      const x = decode(config, weights, {
        tokens,
        attention: { ...attention, batch: shape.batch, length: shape.tokens, cache, normEps: config.normEps },
        padding: null,
        routing,
      })
      const lastOnly = shape.logits === 'last' && shape.tokens > 1
      const hidden = lastOnly ? (tf.gather(x, lastRows) as tf.Tensor2D) : x
      return outputsOf(hidden, unembed(hidden, weights, config), routing)
    },
    { fused },
  )
  routing.dispose()
  return { recording, cache: cache ?? { names: [], copies: [] } }
}

function outputsOf(
  hidden: tf.Tensor2D,
  logits: tf.Tensor2D,
  routing: GraphRouting,
): Record<string, tf.Tensor> {
  const finite = routing.finite()
  const largest = tf.cast(tf.argMax(logits, 1), 'float32') // [rows]; exact, as a vocabulary is smaller than 2^24
  const checks = [finite ?? tf.scalar(0), magnitude(logits)].map((check) => tf.reshape(check, [1]))
  return {
    logits,
    hidden,
    greedy: tf.concat([...checks, largest]),
    ...(finite ? { finite } : {}),
    ...routing.outputs(),
  }
}

/** A number that is finite if all of x is, unless x is so large that its squares are not. */
function magnitude(x: tf.Tensor): tf.Scalar {
  return tensorflowOps(activeTensorflow()).halfSquares(x)
}

/** Routes on the device and remembers what a trace or a check may want to fetch; unfetched, it costs nothing. */
class GraphRouting {
  private readonly layers: { layer: number; routerLogits: tf.Tensor2D; routing: RoutingTensors }[] = []

  constructor(private readonly shape: Pick<StepShape, 'dispatch'>) {}

  run(x: tf.Tensor2D, weights: MoeWeights, config: MoeConfig, layer: number): tf.Tensor2D {
    const { dispatch } = this.shape
    const context = { place: { layer } }
    const { output, routing, routerLogits } = moe(x, weights, config, dispatch, context)
    if ('tokensPerExpert' in routing) throw new Error('recording: routing left the device')
    const { expertIndices, expertWeights } = routing
    const kept = { expertIndices: tf.keep(expertIndices), expertWeights: tf.keep(expertWeights) }
    this.layers.push({ layer, routerLogits: tf.keep(routerLogits), routing: kept })
    return output
  }

  dispose(): void {
    for (const { routerLogits, routing } of this.layers) {
      tf.dispose([routerLogits, routing.expertIndices, routing.expertWeights])
    }
  }

  /** Finite if all router logits are; null without mixture layers. */
  finite(): tf.Scalar | null {
    if (this.layers.length === 0) return null
    return magnitude(
      tf.concat(
        this.layers.map(({ routerLogits }) => routerLogits),
        1,
      ),
    )
  }

  outputs(): Record<string, tf.Tensor> {
    return Object.fromEntries(
      this.layers.flatMap(({ layer, routerLogits, routing }) => [
        [`${layer}/routerLogits`, routerLogits],
        [`${layer}/expertIndices`, routing.expertIndices],
        [`${layer}/expertWeights`, routing.expertWeights],
      ]),
    )
  }
}
