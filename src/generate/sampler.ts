import { assertThat } from '../checks.ts'
import { argmax, checkLogits } from '../model/most-likely.ts'
import { sum } from '../sums.ts'
import type { Random } from './random.ts'
import type { SamplingOptions } from './types.ts'

/** Sampling options, each with a value that counts: off is temperature 0, topK 0, topP 1, minP 0, repetitionPenalty 1. */
export type Sampling = Required<SamplingOptions>

/**
 * Fills in what is left out.
 * @throws InputError naming option, value and what was expected
 */
export function parseSampling(options: SamplingOptions): Sampling {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options
  assertThat('temperature', temperature, Number.isFinite(temperature) && temperature >= 0, 'a number from 0')
  assertThat('topK', topK, Number.isSafeInteger(topK) && topK >= 0, 'a whole number from 0 (0 is off)')
  assertThat('topP', topP, topP > 0 && topP <= 1, 'a number above 0 and up to 1')
  assertThat('minP', minP, minP >= 0 && minP <= 1, 'a number from 0 to 1')
  const penalty = Number.isFinite(repetitionPenalty) && repetitionPenalty > 0
  assertThat('repetitionPenalty', repetitionPenalty, penalty, 'a number above 0')
  assertThat(
    'seed',
    seed,
    Number.isSafeInteger(seed) && seed >= 0,
    `a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`,
  )
  return { temperature, topK, topP, minP, repetitionPenalty, seed }
}

/**
 * The next token from logits [V]: the most likely one at temperature 0, else one drawn from `distribution`.
 * `seen` are the tokens of prompt and text so far, for the repetition penalty.
 * @throws InputError when a logit is NaN or plus infinity, or none is finite
 */
export function nextToken(
  logits: Float32Array,
  seen: Iterable<number>,
  sampling: Sampling,
  random: Random,
): number {
  checkLogits(logits)
  const penalised = penalise(logits, seen, sampling.repetitionPenalty)
  return sampling.temperature === 0 ? argmax(penalised) : draw(distribution(penalised, sampling), random)
}

/** Makes seen tokens less likely: a positive logit is divided by the penalty, a negative one multiplied (Keskar et al. 2019, CTRL). */
export function penalise(logits: Float32Array, seen: Iterable<number>, penalty: number): Float32Array {
  if (penalty === 1) return logits
  const penalised = logits.slice()
  for (const token of new Set(seen)) {
    penalised[token] = logits[token] < 0 ? logits[token] * penalty : logits[token] / penalty
  }
  return penalised
}

/**
 * Probabilities [V] for a temperature above 0, after its filters in the order of transformers' logits processors:
 * temperature, top-k, top-p, min-p, each on what the ones before left. Two things are ours: of equal logits at the edge of
 * top-k or top-p the lower index stays, so top-k leaves exactly k; and sums are float64.
 */
export function distribution(
  logits: Float32Array,
  { temperature, topK, topP, minP }: Omit<Sampling, 'seed'>,
): Float64Array {
  const highest = logits[argmax(logits)]
  // The highest becomes 1, so that no temperature, however small, overflows.
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - highest) / temperature))
  if (topK > 0 && topK < weights.length) keepOnly(weights, mostLikely(weights, topK))
  if (topP < 1) keepOnly(weights, nucleus(weights, topP))
  for (let token = 0; token < weights.length; token++) if (weights[token] < minP) weights[token] = 0
  const total = sum(weights)
  return weights.map((weight) => weight / total)
}

/** Indices of the k largest weights, largest first; a tie goes to the lower index. */
export function mostLikely(weights: Float32Array | Float64Array, k: number): number[] {
  const least = weights.slice().sort()[Math.max(0, weights.length - k)]
  const candidates = Array.from(weights.keys()).filter((token) => weights[token] >= least)
  return byWeight(weights, candidates).slice(0, k)
}

/** The fewest tokens, most likely first, whose share of the total reaches p; at least one. */
function nucleus(weights: Float64Array, p: number): number[] {
  const total = sum(weights)
  // All tokens below this together are less than 1 - p, so none of them is in: far fewer to sort (as karpathy/llama2.c does).
  const floor = ((1 - p) / weights.length) * total
  const candidates = byWeight(
    weights,
    Array.from(weights.keys()).filter((token) => weights[token] >= floor && weights[token] > 0),
  )
  let before = 0
  return candidates.filter((token, i) => {
    const kept = i === 0 || before < p * total
    before += weights[token]
    return kept
  })
}

/** Sorts tokens in place, heaviest first. */
function byWeight(weights: Float32Array | Float64Array, tokens: number[]): number[] {
  return tokens.sort((a, b) => weights[b] - weights[a] || a - b)
}

function keepOnly(weights: Float64Array, tokens: number[]): void {
  const kept = tokens.map((token) => weights[token])
  weights.fill(0)
  tokens.forEach((token, i) => {
    weights[token] = kept[i]
  })
}

/** A token drawn with the given probabilities. */
export function draw(probabilities: Float64Array, random: Random): number {
  let left = random.uniform()
  let last = 0
  for (let token = 0; token < probabilities.length; token++) {
    if (probabilities[token] === 0) continue
    last = token // where rounding leaves a rest of `left`, the last possible token gets it
    left -= probabilities[token]
    if (left < 0) return token
  }
  return last
}
