import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../backend/backend.ts'
import { withoutGradient } from '../../backend/row-groups.ts'
import type { RouterConfig } from '../config.ts'
import { countTokens } from './route.ts'
import { assertFinite } from './steps.ts'
import type { RouterPlace, RouterRules, Routing, RoutingTensors } from './types.ts'

/** As `RouterRules`; the bias may be a tensor. */
interface TensorRules extends Pick<RouterRules, 'config'> {
  scoreBias: Float32Array | tf.Tensor1D | null
}

/** Routes on the device, the same sequence as the steps in steps.ts (no interventions). logits [T, E]. */
export function routeTensors(logits: tf.Tensor2D, { config, scoreBias }: TensorRules): RoutingTensors {
  return tf.tidy(() => {
    const scores = scoreTensors(logits, config.scoring)
    const compared = limitGroupTensors(
      scoreBias ? (tf.add(scores, scoreBias) as tf.Tensor2D) : scores,
      config.groupLimit,
    )
    const best = tf.topk(compared, config.topK)
    // When experts are compared by their scores themselves, topk has already gathered them.
    const pick = backend().ops?.pickColumns ?? pickColumns
    const own = compared === scores ? best.values : pick(scores, best.indices)
    return { expertIndices: best.indices, expertWeights: weightTensors(own, logits, best.indices, config) }
  })
}

function scoreTensors(logits: tf.Tensor2D, scoring: RouterConfig['scoring']): tf.Tensor2D {
  if (scoring === 'none') return logits
  const [T, E] = logits.shape
  const whole = inWholeVectors(logits)
  const scores = scoring === 'softmax' ? tf.softmax(whole) : tf.sigmoid(whole)
  return whole === logits ? scores : tf.slice(scores, [0, 0], [T, E])
}

/** Numbers that a processor's vector instructions take at once, at most (AVX-512). */
const VECTOR = 16

/**
 * Rows filled up with minus infinity where they would end within a vector: TensorFlow computes the numbers that are left
 * over at the end by another exp, so that equal logits of one row could get scores that differ in the last bit, and a tie
 * would not go to the lower index. Published E are mostly multiples of 16, or 8, and stay as they are.
 */
function inWholeVectors(logits: tf.Tensor2D): tf.Tensor2D {
  const E = logits.shape[1]
  const { tensorflow, onCard } = backend()
  if (E % VECTOR === 0 || VECTOR % E === 0 || !tensorflow || onCard) return logits
  const spare = VECTOR - (E % VECTOR)
  return tf.pad(
    logits,
    [
      [0, 0],
      [0, spare],
    ],
    Number.NEGATIVE_INFINITY,
  )
}

function limitGroupTensors(compared: tf.Tensor2D, groupLimit: RouterConfig['groupLimit']): tf.Tensor2D {
  if (!groupLimit || groupLimit.keep === groupLimit.groups) return compared
  const [T, E] = compared.shape
  const size = E / groupLimit.groups
  const grouped = tf.reshape(compared, [T, groupLimit.groups, size])
  const best = groupLimit.score === 'max' ? 1 : Math.min(2, size)
  const groupScores = tf.sum(tf.topk(grouped, best).values, 2) as tf.Tensor2D // [T, groups]
  const kept = marked(tf.topk(groupScores, groupLimit.keep).indices as tf.Tensor2D, groupLimit.groups)
  const keptExperts = tf.reshape(tf.tile(tf.expandDims(kept, 2), [1, 1, size]), [T, E])
  return tf.where(keptExperts, compared, tf.fill([T, E], Number.NEGATIVE_INFINITY)) as tf.Tensor2D
}

/** Whether each of `depth` places is among a row's indices [T, n]. Compared as float32: whole numbers a card leaves to the host. */
function marked(indices: tf.Tensor2D, depth: number): tf.Tensor2D {
  const places = tf.range(0, depth, 1, 'float32')
  return tf.any(tf.equal(tf.expandDims(tf.cast(indices, 'float32'), 2), places), 1)
}

function weightTensors(
  own: tf.Tensor2D,
  logits: tf.Tensor2D,
  indices: tf.Tensor2D,
  { scoring, weighting, normEpsilon, normOrder = 1, jitter = 0, scalingFactor }: RouterConfig,
): tf.Tensor2D {
  const scaled = (w: tf.Tensor2D) => (scalingFactor === 1 ? w : (tf.mul(w, scalingFactor) as tf.Tensor2D))
  if (weighting === 'scores') return scaled(own)
  if (weighting === 'sparsemixer') return scaled(sparsemixerTensors(logits, indices, jitter))
  if (weighting === 'softmax-of-chosen' || weighting === 'sigmoid-of-chosen') {
    const chosen = scoring === 'none' ? own : pickColumns(logits, indices)
    return scaled(weighting === 'softmax-of-chosen' ? tf.softmax(chosen) : tf.sigmoid(chosen))
  }
  const sum =
    normOrder === 1 ? tf.sum(own, 1, true) : tf.pow(tf.sum(tf.pow(own, normOrder), 1, true), 1 / normOrder)
  return scaled(tf.div(own, normEpsilon === 0 ? sum : tf.add(sum, normEpsilon)))
}

/** Of each rank of the chosen [T, K] in turn, among those of a row that were not chosen before. */
function sparsemixerTensors(logits: tf.Tensor2D, indices: tf.Tensor2D, jitter: number): tf.Tensor2D {
  const [T, E] = logits.shape
  const [, K] = indices.shape
  const ranks = tf.split<tf.Tensor2D>(pickColumns(logits, indices), K, 1) // [T, 1] each
  const columns = tf.split<tf.Tensor2D>(indices, K, 1)
  let left = logits // minus infinity in the place of those who are chosen
  const weights = ranks.map((own, rank) => {
    const most = tf.max(left, 1, true) // [T, 1]
    const distance = tf.div(tf.sub(most, left), tf.maximum(tf.abs(logits), most))
    const near = tf.lessEqual(distance, 2 * jitter)
    const shares = tf.where(near, tf.exp(tf.sub(left, most)), tf.zerosLike(left))
    left = tf.where(marked(columns[rank], E), tf.fill([T, E], Number.NEGATIVE_INFINITY), left)
    return tf.div(tf.exp(tf.sub(own, most)), tf.sum(shares, 1, true)) as tf.Tensor2D
  })
  return tf.concat(weights, 1)
}

/**
 * The weights [T, K] of experts [T, K] that were chosen elsewhere, as a function of the logits [T, E] that has a gradient:
 * top-k has none.
 */
function weightsAt(logits: tf.Tensor2D, expertIndices: tf.Tensor2D, config: RouterConfig): tf.Tensor2D {
  return tf.tidy(() => {
    const own = pickColumns(scoreTensors(logits, config.scoring), expertIndices)
    return weightTensors(own, logits, expertIndices, config)
  })
}

/**
 * As `routeTensors`, for gradients: the choice, which has none, makes a detour over the host, so that back-propagation does not
 * meet it. `weights` [T, K] are differentiable in the logits. `chosen` [T, K]: in the place of the router's own choice.
 */
export function routeTrainable(
  logits: tf.Tensor2D,
  rules: RouterRules,
  place: RouterPlace,
  chosen?: Int32Array,
): { routing: Routing; weights: tf.Tensor2D } {
  const { numExperts, topK } = rules.config
  const { read } = backend()
  assertFinite(read(logits), numExperts, place)
  const expertIndices = chosen ?? read<Int32Array>(routeTensors(logits, rules).expertIndices)
  const indices = tf.tensor2d(expertIndices, [logits.shape[0], topK], 'int32')
  const weights = weightsAt(logits, indices, rules.config)
  const tokensPerExpert = countTokens(expertIndices, numExperts)
  return { routing: { expertIndices, expertWeights: read(weights), tokensPerExpert }, weights }
}

/** The same on the device. */
export function routeTrainableTensors(
  logits: tf.Tensor2D,
  config: RouterConfig,
  scoreBias: tf.Tensor1D | null,
): RoutingTensors {
  return tf.tidy(() => {
    const { expertIndices } = routeTensors(withoutGradient(logits), { config, scoreBias })
    return { expertIndices, expertWeights: weightsAt(logits, expertIndices, config) }
  })
}

/** values [T, E], indices [T, K] -> the values at the indices [T, K]. */
function pickColumns(values: tf.Tensor2D, indices: tf.Tensor2D): tf.Tensor2D {
  const [T, E] = values.shape
  // Flat, because the wasm backend's gather with batch dimensions reads the first row for every row.
  const rowStarts = tf.mul(tf.range(0, T, 1, 'int32'), tf.scalar(E, 'int32')) // [T]
  const flat = tf.add(indices, tf.expandDims(rowStarts, 1)) as tf.Tensor2D
  return tf.gather(tf.reshape(values, [T * E]), flat) as unknown as tf.Tensor2D
}

/** Reads a device routing back. */
export function routingToHost({ expertIndices, expertWeights }: RoutingTensors, numExperts: number): Routing {
  const indices = backend().read<Int32Array>(expertIndices)
  return {
    expertIndices: indices,
    expertWeights: backend().read(expertWeights),
    tokensPerExpert: countTokens(indices, numExperts),
  }
}

/** Puts a host routing of T tokens on the device. */
export function routingToTensors({ expertIndices, expertWeights }: Routing, tokens: number): RoutingTensors {
  const shape: [number, number] = [tokens, expertIndices.length / tokens]
  return {
    expertIndices: tf.tensor2d(expertIndices, shape, 'int32'),
    expertWeights: tf.tensor2d(expertWeights, shape),
  }
}
