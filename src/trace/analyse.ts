import { BYTES_PER_WEIGHT, forwardWeightBytes } from '../cost/bytes.ts'
import { expectedDistinct } from '../cost/experts.ts'
import { expertParameters } from '../cost/parameters.ts'
import { InputError } from '../errors.ts'
import { type ModelConfig, mixtureAt } from '../model/config.ts'
import { expertCapacity } from '../model/router/capacity.ts'
import { interventionFor } from '../model/router/interventions.ts'
import { route } from '../model/router/route.ts'
import type { Interventions } from '../model/router/types.ts'
import type { LayerTrace, RoutingTrace } from '../model/trace.ts'
import type { MoeModel } from '../model/transformer.ts'
import { mean, sum } from '../sums.ts'
import { sequencesOf, topKAnswers } from './analyse-top-k.ts'
import { type CachePolicy, layerCaches } from './expert-cache.ts'

/*
 * Questions about capacity, caches, K and memory, answered from the routing of a run. T tokens, E experts, K a token.
 */

export const CAPACITY_FACTORS: readonly number[] = [0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4]

/** Tokens at once for which touched experts are counted, beside all tokens of the trace. */
export const BATCH_SIZES: readonly number[] = [1, 4, 16, 64]

export interface AnalyseOptions {
  /** Tokens a batch for the capacity question; left out, or no less than T, only the whole trace counts as one batch. */
  batch?: number
  /** What the trace was recorded with; kept when K changes. */
  interventions?: Interventions
}

export type Analysis = Awaited<ReturnType<typeof analyse>>
export type CapacityAnswer = ReturnType<typeof capacityAnswers>[number]
export type CacheAnswer = ReturnType<typeof cacheAnswer>
export type WeightsAnswer = ReturnType<typeof weightsAnswer>

/**
 * All answers for one run. Runs the model again, once a K.
 * @throws InputError for a trace that is not of this model, or not of whole sequences from position 0
 */
export async function analyse(
  model: Pick<MoeModel, 'config' | 'forward'>,
  trace: RoutingTrace,
  { batch, interventions }: AnalyseOptions = {},
) {
  const T = trace.rows.length
  checkTrace(trace, model.config)
  return {
    tokens: T,
    capacity: [T, ...(batch && batch < T ? [batch] : [])].flatMap((size) =>
      capacityAnswers(trace, model.config, size),
    ),
    caches: cacheAnswer(trace, model.config),
    topK: await topKAnswers(model, trace, interventions),
    weights: [...BATCH_SIZES.filter((size) => size < T), T].map((size) =>
      weightsAnswer(trace, model.config, size),
    ),
  }
}

/**
 * Share of assignments dropped for want of a seat, by factor: the recorded choices, seated by the engine's own capacity
 * step in batches of `batch` consecutive tokens (the last may be smaller). What was dropped in the recorded run is no
 * assignment here.
 */
export function capacityAnswers(trace: RoutingTrace, config: ModelConfig, batch: number) {
  const kept = trace.layers.map(({ expertIndices }) => assigned(expertIndices))
  return CAPACITY_FACTORS.map((factor) => {
    const dropped = trace.layers.map((layer, i) => kept[i] - seatedOf(layer, trace, config, factor, batch))
    return {
      factor,
      /** Tokens that share the experts' seats. */
      batch,
      /** Seats of one expert in a full batch, an entry a mixture layer. */
      seats: trace.layers.map(({ topK, numExperts }) => expertCapacity(factor, batch, topK, numExperts)),
      /** Share of all assignments dropped, 0..1. */
      dropped: ratio(sum(dropped), sum(kept)),
      /** The same, an entry a mixture layer. */
      droppedByLayer: dropped.map((count, i) => ratio(count, kept[i])),
    }
  })
}

/** Assignments of one layer that find a seat. */
function seatedOf(
  layer: LayerTrace,
  trace: RoutingTrace,
  config: ModelConfig,
  factor: number,
  batch: number,
): number {
  const { router } = mixtureAt(config, layer.layer)
  const E = layer.numExperts
  const intervention = interventionFor(
    { topK: layer.topK, replace: { by: 'trace', trace }, capacity: { factor, policy: 'drop' } },
    router,
    layer.layer,
  )
  let seated = 0
  for (let from = 0; from < trace.rows.length; from += batch) {
    const place = { layer: layer.layer, rows: trace.rows.slice(from, from + batch) }
    const logits = layer.routerLogits.subarray(from * E, (from + batch) * E)
    seated += assigned(route(logits, router, { place, intervention }).expertIndices)
  }
  return seated
}

function assigned(expertIndices: Int32Array): number {
  return expertIndices.reduce((count, expert) => count + (expert >= 0 ? 1 : 0), 0)
}

/** Hits and loaded bytes of every cache size, had the tokens come one at a time. */
export function cacheAnswer(trace: RoutingTrace, config: ModelConfig) {
  const layers = trace.layers.map(layerCaches)
  const bytes = trace.layers.map(({ layer }) => expertBytes(config, layer))
  const requests = sum(layers.map((layer) => layer.requests))
  const largest = Math.max(...trace.layers.map(({ numExperts }) => numExperts))
  const sizes = Array.from({ length: largest }, (_, i) => {
    const hits = (policy: CachePolicy) =>
      layers.map((layer) => layer.hits[policy].at(i) ?? layer.hits[policy].at(-1)!)
    const loaded = (policy: CachePolicy) =>
      sum(hits(policy).map((found, l) => (layers[l].requests - found) * bytes[l]))
    return {
      size: i + 1,
      /** Share of requests found in the cache, 0..1; first uses count as misses, except for `static`. */
      hitRate: byPolicy((policy) => ratio(sum(hits(policy)), requests)),
      /** Weight bytes loaded per token: misses x bytes of one expert. */
      bytesPerToken: byPolicy((policy) => loaded(policy) / trace.rows.length),
    }
  })
  return {
    layers,
    /** All layers together, by experts kept a layer (1..E; a layer with fewer keeps all that it has). */
    sizes,
  }
}

function byPolicy(value: (policy: CachePolicy) => number): Record<CachePolicy, number> {
  return { lru: value('lru'), lfu: value('lfu'), static: value('static'), optimal: value('optimal') }
}

/** Weight bytes of one expert of a layer. */
export function expertBytes(config: ModelConfig, layer: number): number {
  return BYTES_PER_WEIGHT * expertParameters(config.hiddenSize, mixtureAt(config, layer).intermediateSize)
}

/** Weights read by some tokens at once: means over whole batches of `tokens` consecutive tokens; what is left over at the end is no batch. */
export function weightsAnswer(trace: RoutingTrace, config: ModelConfig, tokens: number) {
  const expertsTouched = trace.layers.map((layer) => meanDistinct(layer, tokens))
  const everyExpert = trace.layers.map(({ numExperts }) => numExperts)
  return {
    tokens,
    /** Mean number of different experts that consecutive batches of this size touched, an entry a mixture layer. */
    expertsTouched,
    /** What uniform routing would touch, an entry a mixture layer. */
    expertsExpected: trace.layers.map(({ numExperts, topK }) => expectedDistinct(numExperts, topK, tokens)),
    /** Weight bytes read per token (src/cost/bytes.ts says what is left out), and if every expert were. */
    bytesPerToken: forwardWeightBytes(config, tokens, expertsTouched) / tokens,
    denseBytesPerToken: forwardWeightBytes(config, tokens, everyExpert) / tokens,
  }
}

function meanDistinct({ expertIndices, topK }: LayerTrace, tokens: number): number {
  const size = tokens * topK
  const batches = Array.from({ length: Math.floor(expertIndices.length / size) }, (_, b) =>
    expertIndices.subarray(b * size, (b + 1) * size).filter((expert) => expert >= 0),
  )
  return mean(batches.map((batch) => new Set(batch).size))
}

function checkTrace(trace: RoutingTrace, config: ModelConfig): void {
  if (trace.rows.length === 0) throw new InputError('trace: has no tokens, expected at least one')
  const expected = config.layers.flatMap(({ feedForward }, i) =>
    feedForward.kind === 'moe' ? [`${i}: ${feedForward.router.numExperts}`] : [],
  )
  const found = trace.layers.map(({ layer, numExperts }) => `${layer}: ${numExperts}`)
  if (found.join() !== expected.join() || expected.length === 0) {
    throw new InputError(
      `trace: has layers with experts [${found.join(', ')}], expected the model's [${expected.join(', ')}]`,
    )
  }
  sequencesOf(trace)
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole
}
