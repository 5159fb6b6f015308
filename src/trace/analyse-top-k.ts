import { InputError } from '../errors.ts'
import { type ModelConfig, mixtureAt } from '../model/config.ts'
import { canFollow } from '../model/router/interventions.ts'
import type { Interventions } from '../model/router/types.ts'
import { rowsOf } from '../model/rows.ts'
import type { RoutingTrace } from '../model/trace.ts'
import type { MoeModel } from '../model/transformer.ts'
import { mean } from '../sums.ts'
import { chosenExperts } from './statistics.ts'

/** What another K does to a run of the same tokens. */
export type TopKAnswer = { topK: number } & ReturnType<typeof overlap> & ReturnType<typeof logitChange>

/**
 * Runs the trace's sequences again, each whole, with every K that the interventions leave possible. Where the trace was
 * recorded under a capacity limit, seats are shared by a whole sequence here, whatever the calls of the recorded run were.
 */
export async function topKAnswers(
  model: Pick<MoeModel, 'config' | 'forward'>,
  trace: RoutingTrace,
  interventions: Interventions = {},
): Promise<TopKAnswer[]> {
  const E = Math.min(...trace.layers.map(({ numExperts }) => numExperts))
  const sequences = sequencesOf(trace)
  const run = async (changed: Interventions) => {
    const runs = sequences.map(({ tokens }) => model.forward(tokens, { trace: true, interventions: changed }))
    const values = await Promise.all(runs.map(({ logits }) => logits.data() as Promise<Float32Array>))
    for (const { logits } of runs) logits.dispose()
    return { values, traces: runs.map((result) => result.trace as RoutingTrace) }
  }
  const recorded = await run(interventions)
  const answers: TopKAnswer[] = []
  for (const topK of representative(E).filter((k) => possible(k, interventions, model.config, trace))) {
    const { values, traces } = await run({ ...interventions, topK })
    answers.push({
      topK,
      ...overlap(trace, sequences, traces, topK),
      ...logitChange(recorded.values, values, model.config.vocabSize),
    })
  }
  return answers
}

/** 1..n, or for many only the powers of two and n. */
export function representative(n: number): number[] {
  const all = Array.from({ length: n }, (_, i) => i + 1)
  return n <= 8 ? all : all.filter((i) => i === n || Number.isInteger(Math.log2(i)))
}

function possible(
  topK: number,
  interventions: Interventions,
  config: ModelConfig,
  trace: RoutingTrace,
): boolean {
  if (interventions.replace?.by === 'trace') return trace.layers.every((layer) => layer.topK === topK)
  const changed = { ...interventions, topK }
  return trace.layers.every(({ layer }) => canFollow(changed, mixtureAt(config, layer).router, layer))
}

/** A sequence's tokens in order, and their rows in the trace. */
interface Sequence {
  tokens: number[]
  rows: number[]
}

/** The runs that a trace holds, one a sequence of its batch. */
export function sequencesOf({ rows }: RoutingTrace): Sequence[] {
  const sequences = new Map<number, Sequence>()
  rows.forEach(({ sequence, position, token }, row) => {
    const own = sequences.get(sequence) ?? { tokens: [], rows: [] }
    if (position !== own.tokens.length) {
      throw new InputError(
        `trace: sequence ${sequence} has position ${position} where ${own.tokens.length} was expected; only whole runs can be analysed`,
      )
    }
    own.tokens.push(token)
    own.rows.push(row)
    sequences.set(sequence, own)
  })
  return [...sequences.values()]
}

function overlap(trace: RoutingTrace, sequences: Sequence[], now: RoutingTrace[], topK: number) {
  const jaccardByLayer = trace.layers.map((layer, l) => {
    const shares = sequences.flatMap(({ rows }, s) =>
      rows.map((row, position) =>
        jaccard(chosenExperts(layer, row), chosenExperts(now[s].layers[l], position)),
      ),
    )
    return mean(shares)
  })
  const later = jaccardByLayer.slice(1)
  const K = trace.layers[0].topK
  return {
    /**
     * Mean over tokens of |A n B| / |A u B| (Jaccard 1901) for the experts chosen now and in the trace, an entry a mixture
     * layer. The first layer's input does not depend on K; the later layers' does.
     */
    jaccardByLayer,
    /** Mean over the mixture layers after the first; null if there is none. */
    jaccardLater: later.length > 0 ? mean(later) : null,
    /** min / max of the two K: what is left where the smaller set lies within the larger one. */
    jaccardAtMost: Math.min(K, topK) / Math.max(K, topK),
  }
}

/** |A n B| / |A u B| of lists without repeats; two empty ones are the same. */
function jaccard(a: number[], b: number[]): number {
  const all = new Set([...a, ...b]).size
  return all === 0 ? 1 : (a.length + b.length - all) / all
}

/** Logits [T, V] a sequence, before and after. */
function logitChange(before: Float32Array[], after: Float32Array[], V: number) {
  const pairs = before.flatMap((all, s) => {
    const now = rowsOf(after[s], V)
    return rowsOf(all, V).map((p, t) => ({ p, q: now[t] }))
  })
  const divergences = pairs.map(({ p, q }) => klDivergence(p, q))
  return {
    /** Share of positions whose most likely next token is the same, 0..1. */
    sameTopToken: mean(pairs.map(({ p, q }) => (indexOfLargest(p) === indexOfLargest(q) ? 1 : 0))),
    /** D(trace's distribution || distribution now) of the next token, in nats: mean and largest over positions. */
    klMean: mean(divergences),
    klMax: largest(divergences),
    /** Largest absolute difference of a logit. */
    logitChange: largest(pairs.map(({ p, q }) => largest(p.map((z, v) => Math.abs(z - q[v]))))),
  }
}

/** D(P || Q) = sum over v of P(v) (ln P(v) - ln Q(v)), in nats (Kullback & Leibler 1951), of the softmaxes of two rows. */
export function klDivergence(p: Float32Array, q: Float32Array): number {
  const [normP, normQ] = [logSumExp(p), logSumExp(q)]
  const divergence = p.reduce((d, z, v) => d + Math.exp(z - normP) * (z - normP - (q[v] - normQ)), 0)
  return Math.max(0, divergence) // rounding may leave -1e-17
}

function logSumExp(row: Float32Array): number {
  const max = largest(row)
  return max + Math.log(row.reduce((total, z) => total + Math.exp(z - max), 0))
}

function indexOfLargest(values: Float32Array): number {
  return values.indexOf(largest(values))
}

function largest(values: ArrayLike<number>): number {
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < values.length; i++) max = Math.max(max, values[i])
  return max
}
