import type * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { assertThat } from '../checks.ts'
import { InputError } from '../errors.ts'
import type { RouterConfig } from './config.ts'
import { countTokens, stepsFromLogits } from './router/route.ts'
import { contextOf } from './router/steps.ts'
import { routingToHost } from './router/tensors.ts'
import type {
  Intervention,
  Interventions,
  RouterPlace,
  RouterRules,
  Routing,
  RoutingTensors,
} from './router/types.ts'
import { type ExpertReads, sumOfReads } from './weights.ts'

/** One token of a traced run. */
export interface TraceRow {
  /** Which sequence of the batch. */
  sequence: number
  /** Its position in that sequence, counted from the first token ever put in the cache. */
  position: number
  token: number
}

/** What one mixture layer decided for the T tokens of a trace. */
export interface LayerTrace extends Routing {
  layer: number
  /** E */
  numExperts: number
  /** K */
  topK: number
  /** z [T, E] row-major, as the router gave them, before any intervention. */
  routerLogits: Float32Array
  /** s [T, E]: softmax or sigmoid of the logits (after temperature and disabling). */
  scores: Float32Array
  /** c [T, E], what experts are compared by; absent where that is the scores: no choosing bias, group limit or disabled expert. */
  compared?: Float32Array
  /** [T] by how much the worst of the K best beat the best of the rest, in what experts are compared by; null if K = E. */
  margins: (number | null)[]
  /** Of experts that stay on disk: which of the layer's were found in memory, each counted once a step. */
  reads?: ExpertReads
  /** [T] entropy of the scores as shares of one, in nats; ln E when the router cannot tell experts apart. */
  entropies: Float32Array
}

/** Intermediate values [T, D] row-major, for comparing with another implementation. */
export interface HiddenStates {
  embed: Float32Array
  /** Per layer: attention and feed-forward before they are added to the residual, and the sum after both. */
  layers: { attention: Float32Array; feedForward: Float32Array; output: Float32Array }[]
  finalNorm: Float32Array
}

/** Routing decisions of one call or of a whole run, handed out and never kept by the model. Padding is left out. */
export interface RoutingTrace {
  /** The T tokens, in the order of all [T, ...] arrays below. */
  rows: TraceRow[]
  layers: LayerTrace[]
  hiddenStates: HiddenStates | null
  /** What was changed about the routing, as it was given; absent where nobody intervened. */
  interventions?: Interventions
  /** How many of the rows each call had, where the trace joins several: a capacity limit counts the tokens of a call. */
  callLengths?: number[]
}

export interface TraceOptions {
  /** Also keep intermediate values. */
  hiddenStates?: boolean
}

/** Collects a trace while a forward runs. */
export class TraceRecorder {
  readonly trace: RoutingTrace

  /** `realRows` are the indices of real tokens among the call's B x T rows; `rows` describes those tokens. */
  constructor(
    private readonly realRows: Int32Array,
    rows: TraceRow[],
    options: TraceOptions,
    interventions?: Interventions,
  ) {
    const hiddenStates = { embed: new Float32Array(), layers: [], finalNorm: new Float32Array() }
    this.trace = { rows, layers: [], hiddenStates: options.hiddenStates ? hiddenStates : null }
    if (interventions) this.trace.interventions = interventions
  }

  /** One layer's decision; padding rows never reach a router, so all arrays hold the trace's rows. */
  routing(
    routerLogits: tf.Tensor2D,
    routing: Routing | RoutingTensors,
    rules: RouterRules,
    context: { place: RouterPlace; intervention?: Intervention; reads?: ExpertReads },
  ): void {
    const E = rules.config.numExperts
    const logits = backend().read(routerLogits).slice()
    const taken = 'tokensPerExpert' in routing ? routing : routingToHost(routing, E)
    const topK = taken.expertIndices.length / routerLogits.shape[0]
    const { scores, compared } = scoresAndCompared(logits, rules, context)
    this.trace.layers.push({
      ...taken,
      layer: context.place.layer,
      numExperts: E,
      topK,
      routerLogits: logits,
      scores,
      ...(compared === scores ? {} : { compared }),
      margins: marginsOf(compared, E, topK),
      entropies: entropiesOf(scores, E, rules.config.scoring),
      ...(context.reads ? { reads: context.reads } : {}),
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
    const [values, width] = [backend().read(x), x.shape[1]]
    const real = new Float32Array(this.realRows.length * width)
    this.realRows.forEach((row, i) => {
      real.set(values.subarray(row * width, (row + 1) * width), i * width)
    })
    return real
  }
}

/** The values that only the steps know: the device's routing hands out neither. */
function scoresAndCompared(
  logits: Float32Array,
  rules: RouterRules,
  context: { place: RouterPlace; intervention?: Intervention },
): { scores: Float32Array; compared: Float32Array } {
  let scores = logits
  let compared = logits
  const { place, intervention } = context
  for (const step of stepsFromLogits(logits, rules.config, contextOf(rules, { place, intervention }))) {
    if (step.outputs.scores) scores = step.outputs.scores.data as Float32Array
    if (step.name === 'top-k') {
      compared = step.inputs.compared.data as Float32Array
      break
    }
  }
  return { scores, compared }
}

function marginsOf(compared: Float32Array, E: number, K: number): (number | null)[] {
  return Array.from({ length: compared.length / E }, (_, t) => {
    if (K >= E) return null
    const sorted = compared
      .slice(t * E, (t + 1) * E)
      .sort()
      .reverse()
    return Number.isFinite(sorted[K]) ? sorted[K - 1] - sorted[K] : null
  })
}

/** Shannon entropy of each token's scores, made to sum to one; logits that are not scored count by their softmax. */
function entropiesOf(scores: Float32Array, E: number, scoring: RouterConfig['scoring']): Float32Array {
  return Float32Array.from({ length: scores.length / E }, (_, t) => {
    const row = [...scores.subarray(t * E, (t + 1) * E)]
    const positive = scoring === 'none' ? row.map((z) => Math.exp(z - Math.max(...row))) : row
    const sum = positive.reduce((a, b) => a + b, 0)
    const entropy = -positive.reduce((h, p) => (p > 0 ? h + (p / sum) * Math.log(p / sum) : h), 0)
    return Math.max(0, entropy) // no negative zero
  })
}

/** @throws InputError for anything but a trace; what `traceFromJson` returns has one */
export function assertTrace(what: string, value: unknown): asserts value is RoutingTrace {
  const { rows, layers, trace } = (value ?? {}) as Partial<RoutingTrace & { trace: unknown }>
  const within = trace ? '; it has a trace: give its .trace' : ''
  const expected = `what forward(tokens, { trace: true }) hands out as trace${within}`
  assertThat(what, value, Array.isArray(rows) && Array.isArray(layers), expected)
}

/**
 * One trace of a run from the traces of its calls, in order.
 * @throws InputError for no traces, or traces whose layers are not the same
 */
export function joinTraces(traces: RoutingTrace[]): RoutingTrace {
  assertThat('traces', traces, Array.isArray(traces) && traces.length > 0, 'a list of at least one trace')
  const [first] = traces
  traces.forEach((trace, i) => {
    assertTrace(`traces[${i}]`, trace)
    const [own, expected] = [layersOf(trace), layersOf(first)]
    if (own === expected) return
    throw new InputError(
      `traces[${i}]: has ${own}, expected ${expected} as in traces[0]: a run is of one model`,
    )
  })
  const callLengths = traces.flatMap((trace) => trace.callLengths ?? [trace.rows.length])
  return {
    rows: traces.flatMap((trace) => trace.rows),
    layers: first.layers.map((layer, i) => {
      const parts = traces.map((trace) => trace.layers[i])
      const expertIndices = Int32Array.from(parts.flatMap((p) => [...p.expertIndices]))
      return {
        ...layer,
        routerLogits: joinFloats(parts.map((p) => p.routerLogits)),
        scores: joinFloats(parts.map((p) => p.scores)),
        ...(layer.compared ? { compared: joinFloats(parts.map((p) => p.compared ?? p.scores)) } : {}),
        expertIndices,
        expertWeights: joinFloats(parts.map((p) => p.expertWeights)),
        tokensPerExpert: countTokens(expertIndices, layer.numExperts),
        margins: parts.flatMap((p) => p.margins),
        entropies: joinFloats(parts.map((p) => p.entropies)),
        ...(layer.reads ? { reads: sumOfReads(parts.flatMap((p) => p.reads ?? [])) } : {}),
      }
    }),
    hiddenStates: null,
    ...(first.interventions ? { interventions: first.interventions } : {}),
    ...(traces.length > 1 ? { callLengths } : {}),
  }
}

function layersOf({ layers }: RoutingTrace): string {
  const each = layers.map(({ layer, numExperts, topK }) => `layer ${layer} (E=${numExperts}, K=${topK})`)
  return each.join(', ') || 'no layer with a router'
}

function joinFloats(parts: Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]))
}
