import { InputError } from '../../errors.ts'
import type { RouterConfig } from '../config.ts'
import { applyCapacity } from './capacity.ts'
import { checkRoute } from './check.ts'
import { replaceRouting, withoutIntervention } from './interventions.ts'
import { softmax, topK } from './top-k.ts'
import type { RouteContext, RouterPlace, RouterRules, RouterState, RouterStepName } from './types.ts'

/** A step by what it reads and writes of the state, its formula, and its sentence. */
interface StepDefinition {
  name: RouterStepName
  /** Shown only where it applies; the router's own steps are always shown. */
  intervention?: true
  reads: readonly (keyof RouterState)[]
  /** What else goes in: the same [E] numbers for every token. */
  constants?(state: RouterState): Record<string, Float32Array>
  writes: readonly (keyof RouterState)[]
  applies(state: RouterState): boolean
  run(state: RouterState): Partial<RouterState>
  formula(state: RouterState): string
  sentence(state: RouterState): string
  /** The sentence when the step does not apply. */
  otherwise: string
}

interface Weighting {
  formula(config: RouterConfig): string
  sentence(config: RouterConfig): string
}

/** How weights are made of scores and logits, in words. */
const WEIGHTINGS: Record<RouterConfig['weighting'], Weighting> = {
  scores: {
    formula: () => 'w = s[indices]',
    sentence: ({ scoring }) =>
      scoring === 'softmax'
        ? 'The weights are the scores of the chosen as they are, so they sum to one at most.'
        : 'The weights are the scores of the chosen as they are, whatever they sum to.',
  },
  normalized: {
    formula: ({ normEpsilon, normOrder = 1 }) => {
      const norm = normOrder === 1 ? 'sum(s[indices])' : `norm(s[indices], ${normOrder})`
      return `w = s[indices] / ${normEpsilon ? `(${norm} + ${normEpsilon})` : norm}`
    },
    sentence: ({ normOrder = 1 }) =>
      normOrder === 1
        ? 'The scores of the chosen are divided by their sum, so that the weights sum to one.'
        : `The scores of the chosen are divided by their norm of order ${normOrder}.`,
  },
  'softmax-of-chosen': {
    formula: () => 'w = softmax(z[indices])',
    sentence: () => 'A softmax over the chosen logits alone gives weights that sum to one.',
  },
  'sigmoid-of-chosen': {
    formula: () => 'w = 1 / (1 + exp(-z[indices]))',
    sentence: () => 'A sigmoid of each chosen logit gives a weight between 0 and 1 on its own.',
  },
  sparsemixer: {
    formula: ({ jitter }) =>
      `w = exp(z - M) / sum(exp(z[near] - M)), M = max(z), near: (M - z) / max(|z|, M) <= ${2 * (jitter ?? 0)}`,
    sentence: () =>
      'One after the other: the weight is a share among the logits near the best, of those not chosen before; the rest does not count.',
  },
}

/** The router, step by step: scores, who is compared with whom, the choice, the weights, the limits. */
export const ROUTER_STEPS: readonly StepDefinition[] = [
  {
    name: 'temperature',
    intervention: true,
    reads: ['routerLogits'],
    writes: ['routerLogits'],
    applies: ({ intervention }) => intervention.temperature !== 1,
    run: ({ routerLogits, intervention: { temperature } }) => {
      const divided = routerLogits.map((z) => z / temperature)
      if (divided.every(Number.isFinite)) return { routerLogits: divided }
      throw new InputError(`temperature: ${temperature} makes logits larger than float32 can hold`)
    },
    formula: ({ intervention }) => `z = z / ${intervention.temperature}`,
    sentence: () => 'A temperature above 1 evens the scores, one below 1 sharpens them.',
    otherwise: '',
  },
  {
    name: 'disable',
    intervention: true,
    reads: ['routerLogits'],
    writes: ['routerLogits'],
    applies: ({ intervention }) => intervention.disabled.size > 0,
    run: ({ routerLogits, intervention, E }) => ({
      routerLogits: routerLogits.map((z, i) =>
        intervention.disabled.has(i % E) ? Number.NEGATIVE_INFINITY : z,
      ),
    }),
    formula: ({ intervention }) => `z[e] = -inf for e in {${[...intervention.disabled].join(', ')}}`,
    sentence: () => 'Disabled experts are out, as if the layer had been built without them.',
    otherwise: '',
  },
  {
    name: 'scores',
    reads: ['routerLogits'],
    writes: ['scores'],
    applies: () => true,
    run: (state) => {
      const scores = scoresOf(state)
      return { scores, compared: withoutDisabled(scores, state) }
    },
    formula: ({ config }) =>
      ({ softmax: 's = softmax(z)', sigmoid: 's = 1 / (1 + exp(-z))', none: 's = z' })[config.scoring],
    sentence: ({ config }) =>
      ({
        softmax: 'Softmax turns the logits into shares of one: experts compete for the token.',
        sigmoid: 'A sigmoid scores each expert between 0 and 1 on its own: experts do not compete yet.',
        none: 'Experts are compared by their logits as they are; weights come after the choice.',
      })[config.scoring],
    otherwise: '',
  },
  {
    name: 'choosing-bias',
    reads: ['scores'],
    writes: ['compared'],
    applies: ({ scoreBias, intervention }) => scoreBias !== null || intervention.bias !== null,
    constants: (state) => ({ choosingBias: choosingBias(state) }),
    run: (state) => {
      const bias = choosingBias(state)
      return { compared: state.compared.map((s, i) => s + bias[i % state.E]) }
    },
    formula: () => 'c = s + bias',
    sentence: () => 'A bias per expert shifts the choice towards it; the weights below do not see it.',
    otherwise: 'Experts are compared by their scores alone.',
  },
  {
    name: 'group-limit',
    reads: ['compared'],
    writes: ['compared'],
    applies: ({ config }) => config.groupLimit !== null,
    run: (state) => ({ compared: limitGroups(state) }),
    formula: ({ config: { groupLimit } }) =>
      groupLimit ? `c = -inf outside the best ${groupLimit.keep} of ${groupLimit.groups} groups` : 'c = c',
    sentence: ({ config: { groupLimit } }) =>
      `Experts form groups (machines, when served); a group counts by ${groupLimit?.score === 'max' ? 'its best expert' : 'the sum of its two best'}, and only those in the best groups may be chosen.`,
    otherwise: 'There are no groups: every expert may be chosen.',
  },
  {
    name: 'top-k',
    reads: ['compared'],
    writes: ['expertIndices'],
    applies: () => true,
    run: (state) => ({
      expertIndices: perRow(state.T, state.K, Int32Array, (t) => chosenOf(state, t)),
    }),
    formula: ({ K }) => `indices = the ${K} largest c`,
    sentence: ({ K, E }) => `The ${K} best of ${E} experts are chosen; a tie goes to the lower index.`,
    otherwise: '',
  },
  {
    name: 'force',
    intervention: true,
    reads: ['expertIndices'],
    writes: ['expertIndices'],
    applies: ({ intervention, place, T }) =>
      Array.from({ length: T }, (_, t) => intervention.forced(place, t)).some(Boolean),
    run: ({ expertIndices, intervention, place, K, T }) => ({
      expertIndices: perRow(T, K, Int32Array, (t) => {
        const forced = intervention.forced(place, t) ?? []
        const best = [...expertIndices.subarray(t * K, (t + 1) * K)]
        return [...forced, ...best.filter((e) => !forced.includes(e))].slice(0, K)
      }),
    }),
    formula: () => 'indices = forced experts, then the best others',
    sentence: () => 'Some tokens are sent to given experts; what is left of K goes to the best others.',
    otherwise: '',
  },
  {
    name: 'renormalise',
    reads: ['scores', 'expertIndices'],
    writes: ['expertWeights'],
    applies: () => true,
    run: (state) => ({ expertWeights: perRow(state.T, state.K, Float32Array, (t) => weightsOf(state, t)) }),
    formula: ({ config }) => WEIGHTINGS[config.weighting].formula(config),
    sentence: ({ config }) => {
      const where = ' They multiply what the experts are given, not what they give.'
      return WEIGHTINGS[config.weighting].sentence(config) + (config.weighsInput ? where : '')
    },
    otherwise: '',
  },
  {
    name: 'scale',
    reads: ['expertWeights'],
    writes: ['expertWeights'],
    applies: ({ config }) => config.scalingFactor !== 1,
    run: ({ expertWeights, config }) => ({
      expertWeights: expertWeights.map((w) => w * config.scalingFactor),
    }),
    formula: ({ config }) => `w = ${config.scalingFactor} w`,
    sentence: () => 'A fixed factor brings the routed experts up to the size of the rest of the layer.',
    otherwise: 'The weights stay as they are.',
  },
  {
    name: 'replace',
    intervention: true,
    reads: ['expertIndices', 'expertWeights'],
    writes: ['expertIndices', 'expertWeights'],
    applies: ({ intervention }) => intervention.replace !== null,
    run: replaceRouting,
    formula: ({ intervention }) => `indices, w = ${intervention.replace?.by}`,
    sentence: () => "The router's decision is thrown away and another put in its place.",
    otherwise: '',
  },
  {
    name: 'capacity',
    reads: ['expertIndices', 'expertWeights'],
    writes: ['expertIndices', 'expertWeights'],
    applies: ({ intervention }) => intervention.capacity !== null,
    run: applyCapacity,
    formula: ({ intervention: { capacity } }) =>
      capacity ? `at most ceil(${capacity.factor} T K / E) tokens an expert` : 'no limit',
    sentence: () => 'An expert takes only so many tokens of a batch; what is over is handled by the policy.',
    otherwise: 'An expert takes as many tokens as come.',
  },
]

/** What a layer's rules add to the context of its steps. */
export function contextOf({ scoreBias }: RouterRules, context: RouteContext): RouteContext {
  return { ...context, scoreBias }
}

/** Before the first step. */
export function startState(
  routerLogits: Float32Array,
  config: RouterConfig,
  context: RouteContext,
): RouterState {
  checkRoute(routerLogits, config, context)
  const place = context.place ?? { layer: 0 }
  const intervention = context.intervention ?? withoutIntervention(config)
  assertFinite(routerLogits, config.numExperts, place)
  const T = routerLogits.length / config.numExperts
  return {
    T,
    E: config.numExperts,
    K: intervention.topK,
    config,
    scoreBias: context.scoreBias ?? null,
    place,
    intervention,
    choice: context.choice ?? null,
    routerLogits,
    scores: routerLogits,
    compared: routerLogits,
    expertIndices: new Int32Array(),
    expertWeights: new Float32Array(),
  }
}

/**
 * A logit that is no number would route somewhere all the same. A NaN that an earlier layer let in is named where a router
 * first meets it: attention spreads it over a call's tokens, since 0 times NaN is NaN.
 * @throws InputError naming layer, sequence, token, expert and value
 */
export function assertFinite(
  routerLogits: Float32Array,
  numExperts: number,
  { layer, rows }: RouterPlace,
): void {
  const at = routerLogits.findIndex((z) => !Number.isFinite(z))
  if (at < 0) return
  const row = Math.floor(at / numExperts)
  const { sequence, position } = rows?.[row] ?? { sequence: 0, position: row }
  throw new InputError(
    `router of layer ${layer}: token ${position} of sequence ${sequence} has logit ${routerLogits[at]} for expert ${at % numExperts}, expected a finite number`,
  )
}

/** Experts that compare closer than this may have been ranked otherwise by a device's float32. */
const ROUNDING = 1e-6

function chosenOf({ compared, choice, E, K }: RouterState, t: number): ArrayLike<number> {
  const row = compared.subarray(t * E, (t + 1) * E)
  const best = topK(row, K)
  const given = choice?.subarray(t * K, (t + 1) * K)
  const close = (e: number, k: number) =>
    Math.abs(row[e] - row[best[k]]) <= ROUNDING * Math.max(1, Math.abs(row[e]))
  return given?.every(close) ? given : best
}

function scoresOf({ routerLogits, config, T, E }: RouterState): Float32Array {
  if (config.scoring === 'sigmoid') return routerLogits.map((z) => 1 / (1 + Math.exp(-z)))
  if (config.scoring === 'none') return routerLogits
  return perRow(T, E, Float32Array, (t) => softmax(routerLogits.subarray(t * E, (t + 1) * E)))
}

/** The layer's own choosing bias and an intervention's, together [E]. */
function choosingBias({ scoreBias, intervention, E }: RouterState): Float32Array {
  return Float32Array.from({ length: E }, (_, e) => (scoreBias?.[e] ?? 0) + (intervention.bias?.[e] ?? 0))
}

function withoutDisabled(scores: Float32Array, { intervention, E }: RouterState): Float32Array {
  if (intervention.disabled.size === 0) return scores
  return scores.map((s, i) => (intervention.disabled.has(i % E) ? Number.NEGATIVE_INFINITY : s))
}

/** DeepSeek's group limit; a group scores by its best expert (V2) or the sum of its two best (V3). */
function limitGroups({ compared, config, T, E }: RouterState): Float32Array {
  const { groups, keep, score } = config.groupLimit as NonNullable<RouterConfig['groupLimit']>
  const size = E / groups
  return perRow(T, E, Float32Array, (t) => {
    const row = compared.subarray(t * E, (t + 1) * E)
    const groupScores = Float32Array.from({ length: groups }, (_, g) => {
      const [first, second] = row
        .slice(g * size, (g + 1) * size)
        .sort()
        .reverse()
      return score === 'max' || !Number.isFinite(second ?? Number.NaN) ? first : first + second
    })
    const kept = new Set(topK(groupScores, keep))
    return row.map((c, e) => (kept.has(Math.floor(e / size)) ? c : Number.NEGATIVE_INFINITY))
  })
}

function weightsOf(
  { scores, routerLogits, expertIndices, config, E, K }: RouterState,
  t: number,
): ArrayLike<number> {
  const { weighting, normEpsilon, normOrder = 1, jitter = 0 } = config
  const chosen = [...expertIndices.subarray(t * K, (t + 1) * K)]
  const logits = routerLogits.subarray(t * E, (t + 1) * E)
  if (weighting === 'softmax-of-chosen') return softmax(chosen.map((e) => logits[e]))
  if (weighting === 'sigmoid-of-chosen') return chosen.map((e) => 1 / (1 + Math.exp(-logits[e])))
  if (weighting === 'sparsemixer') return sparsemixerWeights(logits, chosen, jitter)
  const own = chosen.map((e) => scores[t * E + e])
  if (weighting === 'scores') return own
  const divisor = own.reduce((a, b) => a + b ** normOrder, 0) ** (1 / normOrder) + normEpsilon
  return own.map((w) => w / divisor)
}

/** Of each chosen in turn, among those that were not chosen before it. */
function sparsemixerWeights(logits: Float32Array, chosen: number[], jitter: number): number[] {
  return chosen.map((e, rank) => {
    const before = chosen.slice(0, rank)
    const left = [...logits.keys()].filter((j) => !before.includes(j))
    const most = Math.max(...left.map((j) => logits[j]))
    const near = left.filter((j) => (most - logits[j]) / Math.max(Math.abs(logits[j]), most) <= 2 * jitter)
    return Math.exp(logits[e] - most) / near.reduce((sum, j) => sum + Math.exp(logits[j] - most), 0)
  })
}

/** A [T, width] array made row by row. */
function perRow<A extends Float32Array | Int32Array>(
  T: number,
  width: number,
  Type: new (length: number) => A,
  row: (t: number) => ArrayLike<number>,
): A {
  const all = new Type(T * width)
  for (let t = 0; t < T; t++) all.set(row(t), t * width)
  return all
}
