import * as tf from '@tensorflow/tfjs-core'
import type { Dtype } from '../backend/dtypes.ts'
import { activeTensorflow, type HostNumbers } from '../backend/tensorflow.ts'
import { tensorflowOps } from '../backend/tensorflow-ops.ts'
import { cachedShapes } from '../model/attention/index.ts'
import type { ModelConfig, MoeConfig } from '../model/config.ts'
import { decode, unembed } from '../model/decoder.ts'
import type { KvCache } from '../model/kv-cache.ts'
import { moe } from '../model/moe.ts'
import type { RoutingTensors } from '../model/router/types.ts'
import { leaves } from '../model/tree.ts'
import type { DispatchName } from '../model/ways.ts'
import type { ExpertsOnDisk, ModelWeights, MoeWeights } from '../model/weights.ts'
import { CachePlace, GraphCache } from './graph-cache.ts'
import { inHalf } from './half.ts'
import { type Plan, planFor } from './plan.ts'
import { type Entry, type Recording, type RecordOptions, record } from './recorder.ts'
import { GraphSession } from './session.ts'
import { type Session, Sessions } from './sessions.ts'
import {
  type AskedRope,
  packedLength,
  packInputs,
  ropesOf,
  type StepInputs,
  type StepSizes,
  unpackInputs,
} from './step-inputs.ts'

/** What makes one recorded step differ from another: everything that is a constant of its graph. */
export interface StepShape extends StepSizes {
  dispatch: DispatchName | 'auto'
  logits: 'all' | 'last'
}

/** What the steps of a model share: its sessions, the weights in them, and the places of its caches there. */
export class StepGraphs {
  readonly sessions = new Sessions()
  private readonly places = new Map<Session, Map<string, CachePlace>>()
  private asked: readonly AskedRope[] | undefined

  /** `dtype`: what weights are multiplied in, where a step's plan has it so. */
  constructor(
    readonly config: ModelConfig,
    readonly weights: ModelWeights,
    readonly dtype: Dtype = 'float32',
  ) {}

  /** The rotary tables that its steps are fed. */
  get ropes(): readonly AskedRope[] {
    this.asked ??= ropesOf(this.config.layers)
    return this.asked
  }

  /** Where a session's steps of these sizes have their cache. */
  place(session: Session, { batch, capacity }: StepSizes): CachePlace {
    const places = this.places.get(session) ?? new Map<string, CachePlace>()
    this.places.set(session, places)
    const key = `${batch} ${capacity}`
    const place =
      places.get(key) ?? new CachePlace(session, cachedShapes(this.config.layers), { batch, capacity })
    places.set(key, place)
    return place
  }

  /** A cache that is held goes back to its owner first. */
  dispose(): void {
    for (const places of this.places.values()) for (const place of places.values()) place.park()
    this.places.clear()
    this.sessions.dispose()
  }
}

/**
 * One forward of fixed shape as a TensorFlow graph: tokens and where they stand in, logits out, the kv-cache in variables
 * that are updated in place. What may be fetched:
 *
 * - `logits` [rows, V] of all rows or each sequence's last, and `hidden` [rows, D], what they are made from
 * - `greedy` [1 + rows]: a number that is finite if all router logits and all logits are, and the index of each row's largest
 *   logit, an int32 by its bits: one result, as each is fetched by itself
 * - `finite`: a number, finite if all router logits are; not there without mixture layers
 * - `LAYER/routerLogits`, `LAYER/expertIndices`, `LAYER/expertWeights`
 */
export class RecordedStep {
  private readonly graph: GraphSession
  private readonly place: CachePlace

  constructor(
    private readonly graphs: StepGraphs,
    private readonly shape: StepShape,
    plan = planFor({ rows: shape.batch * shape.tokens, dtype: graphs.dtype }),
  ) {
    const recording = recordStep(graphs.config, graphs.weights, shape, plan, graphs.ropes)
    this.graph = new GraphSession(recording, plan, graphs.sessions)
    this.place = graphs.place(this.graph.session, shape)
  }

  /** Runs on `cache`: its columns move into the graph's variables unless they are there already. */
  run(cache: KvCache, inputs: StepInputs, outputs: string[]): HostNumbers[] {
    this.place.hold(cache)
    return this.graph.fetch({ packed: packInputs(inputs, this.shape, this.graphs.ropes) }, outputs)
  }
}

/**
 * A step's graph as it is recorded: in half precision where the plan says so, not yet with the plan's kernels (`planned`). Nothing
 * in it is of a session.
 */
export function recordStep(
  config: ModelConfig,
  weights: ModelWeights,
  shape: StepShape,
  plan: Plan,
  ropes: readonly AskedRope[] = ropesOf(config.layers),
): Recording {
  const scope = tf.engine()
  scope.startScope('recording')
  try {
    const recording = { ...recordFloats(config, weights, shape, plan, ropes), exact: choosing(weights) }
    return plan.dtype === 'float32' ? recording : inHalf(recording, plan.dtype)
  } finally {
    scope.endScope()
  }
}

/**
 * The matrices, by `dataId`, whose products are compared with each other to choose an expert or a token: rounded, near ones
 * would be equal, and another would be chosen.
 */
function choosing({ blocks, embedding, unembedding }: ModelWeights): Set<object> {
  const routers = blocks.flatMap(({ feedForward }) =>
    feedForward.kind === 'moe' ? [feedForward.router.weight] : [],
  )
  return new Set([...routers, unembedding?.weight ?? embedding].map(({ dataId }) => dataId))
}

/** Each expert's matrices as entries of the layer's stacks, where there are stacks. */
function expertEntries({ blocks }: ModelWeights): RecordOptions['entries'] {
  const entries = new Map<object, Entry>()
  const onDisk: ExpertsOnDisk[] = []
  for (const { feedForward } of blocks) {
    if (feedForward.kind !== 'moe' || !feedForward.stacked) continue
    const { experts, stacked } = feedForward
    if (feedForward.onDisk) onDisk.push(feedForward.onDisk)
    const stacks = new Map(leaves<tf.Tensor>(stacked))
    for (const [index, expert] of experts.entries()) {
      for (const [path, { dataId }] of leaves<tf.Tensor>(expert))
        entries.set(dataId, { of: stacks.get(path) as tf.Tensor, index })
    }
  }
  const onDiskOf = (dataId: object) => onDisk.map((experts) => experts.entryOf(dataId)).find(Boolean)
  return { get: (dataId) => entries.get(dataId) ?? onDiskOf(dataId) }
}

/** Runs the decoder once on zeros and records it. */
function recordFloats(
  config: ModelConfig,
  weights: ModelWeights,
  shape: StepShape,
  { fused }: Plan,
  ropes: readonly AskedRope[],
): Recording {
  const packed = tf.zeros<tf.Rank.R1>([packedLength(shape, ropes)], 'int32')
  const routing = new GraphRouting(shape)
  const recording = record(
    { packed },
    (recorder) => {
      const { tokens, lastRows, first, attention } = unpackInputs(packed, shape, ropes)
      const cache = new GraphCache(recorder, first, cachedShapes(config.layers), shape)
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
    { fused, entries: expertEntries(weights) },
  )
  routing.dispose()
  return recording
}

function outputsOf(
  hidden: tf.Tensor2D,
  logits: tf.Tensor2D,
  routing: GraphRouting,
): Record<string, tf.Tensor> {
  const ops = tensorflowOps(activeTensorflow())
  const magnitude = (x: tf.Tensor) => ops.halfSquares(x) // finite if all of x is, unless x is so large that its squares are not
  const routerLogits = routing.logits()
  const all = [...routerLogits, logits].map((x) => tf.reshape(x, [-1]))
  return {
    logits,
    hidden,
    greedy: tf.concat([tf.reshape(magnitude(tf.concat(all)), [1]), ops.asFloats(tf.argMax(logits, 1))]),
    ...(routerLogits.length > 0 ? { finite: magnitude(tf.concat(routerLogits, 1)) } : {}),
    ...routing.outputs(),
  }
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

  /** [rows, E] of each mixture layer. */
  logits(): tf.Tensor2D[] {
    return this.layers.map(({ routerLogits }) => routerLogits)
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
