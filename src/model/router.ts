import * as tf from '@tensorflow/tfjs-core'
import { InputError } from '../errors.ts'
import type { RouterConfig } from './config.ts'

/** Which experts each token goes to, and how much each counts. */
export interface Routing {
  /** [T, K] row-major, most preferred first. */
  expertIndices: Int32Array
  /** [T, K] aligned with expertIndices. */
  expertWeights: Float32Array
  /** [E] assignments of each expert; they sum to T K. */
  tokensPerExpert: Int32Array
}

/** The same decision on the device, nothing read back. */
export interface RoutingTensors {
  /** [T, K] int32 */
  expertIndices: tf.Tensor2D
  /** [T, K] */
  expertWeights: tf.Tensor2D
}

/** Routes on the host: the definition. `logits` [T, E] row-major; a tie goes to the lower expert. */
export function route(
  logits: Float32Array,
  config: RouterConfig,
  scoreBias: Float32Array | null = null,
): Routing {
  const { numExperts: E, topK: K } = config
  const T = logits.length / E
  const routing: Routing = {
    expertIndices: new Int32Array(T * K),
    expertWeights: new Float32Array(T * K),
    tokensPerExpert: new Int32Array(E),
  }
  for (let t = 0; t < T; t++) {
    const row = logits.subarray(t * E, (t + 1) * E)
    const bad = row.findIndex((z) => !Number.isFinite(z))
    if (bad >= 0)
      throw new InputError(
        `router: token ${t} has logit ${row[bad]} for expert ${bad}, expected a finite number`,
      )
    const scores = scoresOf(row, config.scoring)
    const chosen = topK(eligible(scores, scoreBias, config.groupLimit), K)
    routing.expertIndices.set(chosen, t * K)
    routing.expertWeights.set(weightsOf(chosen, scores, row, config), t * K)
    for (const e of chosen) routing.tokensPerExpert[e]++
  }
  return routing
}

/** Logits to scores, one token. */
function scoresOf(logits: Float32Array, scoring: RouterConfig['scoring']): Float32Array {
  if (scoring === 'softmax') return softmax(logits)
  return scoring === 'sigmoid' ? logits.map((z) => 1 / (1 + Math.exp(-z))) : logits
}

function softmax(logits: Float32Array): Float32Array {
  const max = Math.max(...logits)
  const exps = Array.from(logits, (z) => Math.exp(z - max))
  const sum = exps.reduce((a, b) => a + b, 0)
  return Float32Array.from(exps, (e) => e / sum)
}

/** What experts are compared by: scores plus the choosing bias, minus infinity outside the kept groups. */
function eligible(
  scores: Float32Array,
  scoreBias: Float32Array | null,
  groupLimit: RouterConfig['groupLimit'],
): Float32Array {
  const biased = scoreBias ? scores.map((s, e) => s + scoreBias[e]) : scores.slice()
  if (!groupLimit) return biased
  const size = biased.length / groupLimit.groups
  const groupScores = Float32Array.from({ length: groupLimit.groups }, (_, g) => {
    const best = biased
      .slice(g * size, (g + 1) * size)
      .sort()
      .reverse()
    return groupLimit.score === 'max' ? best[0] : best[0] + (best[1] ?? 0)
  })
  const kept = new Set(topK(groupScores, groupLimit.keep))
  return biased.map((s, e) => (kept.has(Math.floor(e / size)) ? s : Number.NEGATIVE_INFINITY))
}

/** Indices of the k largest values, largest first; a tie goes to the lower index. */
export function topK(values: Float32Array, k: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => values[b] - values[a] || a - b)
    .slice(0, k)
}

function weightsOf(
  chosen: number[],
  scores: Float32Array,
  logits: Float32Array,
  config: RouterConfig,
): number[] {
  const { weighting, normEpsilon, scalingFactor } = config
  const own = chosen.map((e) => scores[e])
  if (weighting === 'softmax-of-chosen')
    return [...softmax(Float32Array.from(chosen, (e) => logits[e]))].map((w) => w * scalingFactor)
  const divisor = weighting === 'normalized' ? own.reduce((a, b) => a + b, 0) + normEpsilon : 1
  return own.map((w) => (w / divisor) * scalingFactor)
}

/** Routes on the device, the same sequence as `route`. logits [T, E]. */
export function routeTensors(
  logits: tf.Tensor2D,
  config: RouterConfig,
  scoreBias: Float32Array | null = null,
): RoutingTensors {
  return tf.tidy(() => {
    const { scoring, topK: K } = config
    const scores =
      scoring === 'softmax' ? tf.softmax(logits) : scoring === 'sigmoid' ? tf.sigmoid(logits) : logits
    const compared = eligibleTensors(scores, scoreBias, config.groupLimit)
    const best = tf.topk(compared, K)
    // When experts are compared by their scores themselves, topk has already gathered them.
    const own = compared === scores ? best.values : gatherRows(scores, best.indices)
    return { expertIndices: best.indices, expertWeights: weightTensors(own, logits, best.indices, config) }
  })
}

function eligibleTensors(
  scores: tf.Tensor2D,
  scoreBias: Float32Array | null,
  groupLimit: RouterConfig['groupLimit'],
): tf.Tensor2D {
  const biased = scoreBias ? (tf.add(scores, tf.tensor1d(scoreBias)) as tf.Tensor2D) : scores
  if (!groupLimit || groupLimit.keep === groupLimit.groups) return biased
  const [T, E] = biased.shape
  const size = E / groupLimit.groups
  const grouped = tf.reshape(biased, [T, groupLimit.groups, size])
  const groupScores = (
    groupLimit.score === 'max' ? tf.max(grouped, 2) : tf.sum(tf.topk(grouped, Math.min(2, size)).values, 2)
  ) as tf.Tensor2D
  const kept = tf.max(tf.oneHot(tf.topk(groupScores, groupLimit.keep).indices, groupLimit.groups), 1) // [T, groups]
  const keptExperts = tf.reshape(tf.tile(tf.expandDims(kept, 2), [1, 1, size]), [T, E])
  return tf.where(
    tf.cast(keptExperts, 'bool'),
    biased,
    tf.fill([T, E], Number.NEGATIVE_INFINITY),
  ) as tf.Tensor2D
}

function weightTensors(
  own: tf.Tensor2D,
  logits: tf.Tensor2D,
  indices: tf.Tensor2D,
  config: RouterConfig,
): tf.Tensor2D {
  const { weighting, normEpsilon, scalingFactor } = config
  const scaled = (w: tf.Tensor2D) => (scalingFactor === 1 ? w : (tf.mul(w, scalingFactor) as tf.Tensor2D))
  if (weighting === 'softmax-of-chosen')
    return scaled(tf.softmax(config.scoring === 'none' ? own : gatherRows(logits, indices)))
  if (weighting === 'scores') return scaled(own)
  return scaled(tf.div(own, tf.add(tf.sum(own, 1, true), normEpsilon)))
}

/** values [T, E], indices [T, K] -> values at the indices [T, K]. */
function gatherRows(values: tf.Tensor2D, indices: tf.Tensor2D): tf.Tensor2D {
  return tf.gather(values, indices, 1, 1) as tf.Tensor2D
}

/** Reads a device routing back. */
export function routingToHost({ expertIndices, expertWeights }: RoutingTensors, numExperts: number): Routing {
  const indices = expertIndices.dataSync() as Int32Array
  const tokensPerExpert = new Int32Array(numExperts)
  for (const e of indices) tokensPerExpert[e]++
  return { expertIndices: indices, expertWeights: expertWeights.dataSync() as Float32Array, tokensPerExpert }
}

/** Puts a host routing on the device. */
export function routingToTensors(routing: Routing, topK: number): RoutingTensors {
  return {
    expertIndices: tf.tensor2d(routing.expertIndices, [routing.expertIndices.length / topK, topK], 'int32'),
    expertWeights: tf.tensor2d(routing.expertWeights, [routing.expertWeights.length / topK, topK]),
  }
}
