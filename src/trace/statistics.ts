import { softmax } from '../model/router/top-k.ts'
import type { LayerTrace, TraceRow } from '../model/trace.ts'
import { hitRate } from '../model/weights.ts'
import { mean, sum } from '../sums.ts'

/** What one mixture layer did over the T tokens of a trace, in numbers. Shares are of one; entropies in nats. */
export type LayerStatistics = ReturnType<typeof layerStatistics>

/** All statistics of a layer; `rows` are the trace's tokens. */
export function layerStatistics(layer: LayerTrace, rows: readonly TraceRow[]) {
  const shares = utilisation(layer)
  const margins = layer.margins.filter((margin) => margin !== null)
  return {
    layer: layer.layer,
    /** 1 when balanced; see `loadBalanceLoss`. */
    loadBalanceLoss: loadBalanceLoss(layer),
    /** Experts that got at least one token. */
    expertsUsed: shares.filter((share) => share > 0).length,
    /** [E]; see `utilisation`. */
    utilisation: shares,
    /** 0 when balanced; see `maxViolation`. */
    maxViolation: maxViolation(layer),
    /** 1 when balanced; see `normalisedLoadEntropy`. */
    normalisedLoadEntropy: normalisedLoadEntropy(layer),
    /** [E, E]; see `coactivation`. */
    coactivation: coactivation(layer),
    /** Null without two successive tokens; see `routingAgreement`. */
    routingAgreement: routingAgreement(layer, rows),
    /** Mean over tokens; null if no token has a margin (K = E, or too many experts disabled). */
    meanMargin: margins.length > 0 ? mean(margins) : null,
    /** Mean over tokens of the entropy of the scores. */
    meanEntropy: mean([...layer.entropies]),
    /** Assignments that a capacity limit dropped: T K less the sum of tokensPerExpert. */
    dropped: layer.expertIndices.length - sum(layer.tokensPerExpert),
    /** Share of needed experts that were in memory; there where experts stay on disk. */
    ...(layer.reads ? { hitRate: hitRate(layer.reads) } : {}),
  }
}

/** The columns that say something about these layers. */
export function statisticsOf(layers: readonly LayerTrace[]): readonly Statistic[] {
  return layers.some(({ reads }) => reads) ? [...STATISTICS, IN_MEMORY] : STATISTICS
}

/** A column of layers in numbers: short and whole heading, what it means, and the text of a layer; none is a dash. */
type Statistic = readonly [short: string, name: string, meaning: string, text: (s: LayerStatistics) => string]

const IN_MEMORY: Statistic = [
  'in memory',
  'experts in memory',
  'share of needed experts that were not read from disk',
  (s) => threeDigits(s.hitRate ?? null),
]

const STATISTICS: readonly Statistic[] = [
  ['loss', 'load-balance loss', '1 when balanced', (s) => threeDigits(s.loadBalanceLoss)],
  ['used', 'experts used', '', (s) => `${s.expertsUsed}/${s.utilisation.length}`],
  ['busiest', 'busiest expert', 'and its share of the assignments', (s) => busiestText(s)],
  [
    'MaxVio',
    'MaxVio',
    'largest load above the mean, as a share of the mean',
    (s) => threeDigits(s.maxViolation),
  ],
  [
    'evenness',
    'evenness of load',
    'entropy / ln E, 1 when balanced',
    (s) => threeDigits(s.normalisedLoadEntropy),
  ],
  [
    'agreement',
    'agreement',
    'share of experts that successive tokens have in common',
    (s) => threeDigits(s.routingAgreement),
  ],
  ['margin', 'mean margin', 'worst chosen less best not chosen', (s) => threeDigits(s.meanMargin)],
  ['entropy', 'mean entropy', 'of the scores, nats', (s) => threeDigits(s.meanEntropy)],
  ['dropped', 'dropped', 'assignments over capacity', (s) => String(s.dropped)],
]

function threeDigits(value: number | null): string {
  return value === null ? '-' : value.toFixed(3)
}

function busiestText({ utilisation }: LayerStatistics): string {
  const most = Math.max(...utilisation)
  return `${utilisation.indexOf(most)} (${(100 * most).toFixed(0)}%)`
}

/**
 * E sum_e f_e P_e, with f_e the share of assignments that went to expert e (sum f = 1, dropped ones left out) and P_e its
 * mean score share. Balanced is 1; everything to one expert, with all of the score, is E. Switch Transformers (Fedus et al. 2021, eq. 4, without the
 * coefficient) for K = 1, and with sum f = 1 the convention of OLMoE (Muennighoff et al. 2024) for any K; transformers'
 * own function does not divide by K and gives K when balanced.
 */
export function loadBalanceLoss(layer: LayerTrace): number {
  const shares = meanScoreShares(layer)
  return layer.numExperts * sum(utilisation(layer).map((f, e) => f * shares[e]))
}

/** f_e [E]: share of the assignments that went to each expert, dropped ones left out. Balanced is 1/E each. */
export function utilisation({ tokensPerExpert }: LayerTrace): number[] {
  const assignments = sum(tokensPerExpert)
  return Array.from(tokensPerExpert, (tokens) => (assignments === 0 ? 0 : tokens / assignments))
}

/**
 * MaxVio: (largest load - mean load) / mean load; balanced is 0, everything to one expert E - 1. Auxiliary-Loss-Free Load
 * Balancing (Wang et al. 2024, section 4.1).
 */
export function maxViolation(layer: LayerTrace): number {
  const shares = utilisation(layer)
  return Math.max(...shares) * layer.numExperts - (sum(shares) === 0 ? 0 : 1)
}

/** Entropy of the load, -sum f_e ln f_e, over its largest value ln E (Pielou's evenness): 1 balanced, 0 one expert. */
export function normalisedLoadEntropy(layer: LayerTrace): number {
  if (layer.numExperts === 1) return 1
  const entropy = -sum(utilisation(layer).map((f) => (f > 0 ? f * Math.log(f) : 0)))
  return Math.max(0, entropy) / Math.log(layer.numExperts) // no negative zero
}

/**
 * [E, E] N_ij / N_i: of the tokens that went to expert i, the share that also went to expert j (OLMoE, Muennighoff et al.
 * 2024, section 5.2). The diagonal is 1; the row of an expert without tokens is 0.
 */
export function coactivation(layer: LayerTrace): number[][] {
  const E = layer.numExperts
  const together = Array.from({ length: E }, () => new Array<number>(E).fill(0))
  for (let t = 0; t < layer.entropies.length; t++) {
    const chosen = chosenExperts(layer, t)
    for (const i of chosen) for (const j of chosen) together[i][j]++
  }
  return together.map((row, i) => row.map((n) => (row[i] === 0 ? 0 : n / row[i])))
}

/**
 * Mean of |E_t and E_t+1| / K over successive tokens of the same sequence, E_t the experts of token t. By chance K/E. The
 * overlap is that of OLMoE's router saturation (Muennighoff et al. 2024, section 5.1), between neighbours in place of
 * checkpoints; Mixtral (Jiang et al. 2024, section 5) counts first choices that repeat.
 */
export function routingAgreement(layer: LayerTrace, rows: readonly TraceRow[]): number | null {
  const rowOf = new Map(rows.map(({ sequence, position }, t) => [`${sequence}:${position}`, t]))
  const agreements = rows.flatMap(({ sequence, position }, t) => {
    const next = rowOf.get(`${sequence}:${position + 1}`)
    if (next === undefined) return []
    const after = new Set(chosenExperts(layer, next))
    return [chosenExperts(layer, t).filter((e) => after.has(e)).length / layer.topK]
  })
  return agreements.length > 0 ? mean(agreements) : null
}

/** Experts of row t that were not dropped, most preferred first. */
export function chosenExperts({ expertIndices, topK }: LayerTrace, t: number): number[] {
  return [...expertIndices.subarray(t * topK, (t + 1) * topK)].filter((e) => e >= 0)
}

/** Weights [K] of row t as shares, 0 to 1, of the largest of them: what shades and opacities show. */
export function weightShares({ expertWeights, topK }: LayerTrace, t: number): number[] {
  const weights = expertWeights.subarray(t * topK, (t + 1) * topK)
  const largest = Math.max(...weights)
  return Array.from(weights, (w) => (largest > 0 ? Math.max(0, w / largest) : 0))
}

/**
 * P_e [E]: each token's scores divided by their sum, averaged over tokens. Scores outside [0, 1] are logits of a router
 * that compares logits (gpt_oss), which count by their softmax.
 */
function meanScoreShares({ scores, numExperts: E, entropies: { length: T } }: LayerTrace): number[] {
  const areLogits = scores.some((s) => s < 0 || s > 1)
  const shares = new Array<number>(E).fill(0)
  for (let t = 0; t < T; t++) {
    const row = scores.subarray(t * E, (t + 1) * E)
    const positive = areLogits ? softmax(row) : row
    const total = sum(positive)
    positive.forEach((s, e) => {
      shares[e] += s / total / T
    })
  }
  return shares
}
