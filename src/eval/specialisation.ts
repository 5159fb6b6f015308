import { ALL_DOMAINS, type Domain } from '../corpus/index.ts'
import type { LayerTrace } from '../model/trace.ts'
import { mapValues } from '../model/tree.ts'
import { chosenExperts, loadBalanceLoss, maxViolation, utilisation } from '../trace/statistics.ts'
import type { ByDomain } from './domains.ts'
import { mutualInformation } from './mutual-information.ts'

/** An expert that gets less of its layer's assignments than this is as good as absent. */
export const DEAD_SHARE = 0.02
/** A token that was routed fewer times says little about an expert. */
const MIN_COUNT = 20
/** Typical tokens listed an expert. */
const TYPICAL = 8

/** A routed token: a row of the trace. */
export interface RoutedToken {
  token: number
  /** Index of its document. */
  document: number
  domain: Domain
}

/** What the trace of one layer says about its experts; `tokens` are the trace's rows. */
export function layerSpecialisation(
  layer: LayerTrace,
  tokens: readonly RoutedToken[],
  textOf: (token: number) => string,
) {
  return {
    layer: layer.layer,
    numExperts: layer.numExperts,
    topK: layer.topK,
    /** Null with a single domain. */
    mutualInformation: layerInformation(layer, tokens),
    /** Share of a domain's tokens that have the expert among their K; no preference is `baseline`. */
    tokenShare: tokenShares(layer, tokens),
    /** K / E */
    baseline: layer.topK / layer.numExperts,
    load: expertLoad(layer),
    /** [E], most typical first. */
    typicalTokens: typicalTokens(layer, tokens, textOf),
  }
}

function layerInformation(layer: LayerTrace, tokens: readonly RoutedToken[]) {
  const kinds = ALL_DOMAINS.filter((domain) => tokens.some((token) => token.domain === domain))
  const documents = new Map<number, { kind: number; counts: number[] }>()
  tokens.forEach(({ document, domain }, t) => {
    const entry = documents.get(document) ?? { kind: kinds.indexOf(domain), counts: zeros(layer.numExperts) }
    documents.set(document, entry)
    for (const expert of chosenExperts(layer, t)) entry.counts[expert]++
  })
  return mutualInformation([...documents.values()], kinds.length)
}

/**
 * Share of a domain's tokens that have an expert among their K; the shares of a domain sum to K. This is the domain
 * specialisation of OLMoE (Muennighoff et al. 2024, arXiv 2409.02060, section 5.3).
 */
export function tokenShares(layer: LayerTrace, tokens: readonly RoutedToken[]): ByDomain<number[]> {
  const counts: ByDomain<{ tokens: number; chosen: number[] }> = {}
  tokens.forEach(({ domain }, t) => {
    counts[domain] ??= { tokens: 0, chosen: zeros(layer.numExperts) }
    counts[domain].tokens++
    for (const expert of chosenExperts(layer, t)) counts[domain].chosen[expert]++
  })
  return mapValues(counts, ({ tokens, chosen }) => chosen.map((n) => n / tokens))
}

export type ExpertLoad = ReturnType<typeof expertLoad>

function expertLoad(layer: LayerTrace) {
  const shares = utilisation(layer)
  const place = (share: number) => ({ expert: shares.indexOf(share), share })
  return {
    /** [E] shares of the assignments; they sum to 1, balanced is 1 / E. */
    shares,
    least: place(Math.min(...shares)),
    most: place(Math.max(...shares)),
    /** Experts with less than `DEAD_SHARE`. */
    dead: [...shares.keys()].filter((expert) => shares[expert] < DEAD_SHARE),
    /** (largest load - mean) / mean. */
    maxViolation: maxViolation(layer),
    /** E sum f P; 1 when balanced. */
    loadBalanceLoss: loadBalanceLoss(layer),
  }
}

export type TypicalToken = ReturnType<typeof typicalTokens>[number][number]

/**
 * Per expert the tokens that it gets most above chance: N(token, expert) / N(token), OLMoE's vocabulary specialisation
 * (section 5.4, there without the division), by the same share of all tokens. By lift, the more frequent token first.
 */
function typicalTokens(layer: LayerTrace, tokens: readonly RoutedToken[], textOf: (token: number) => string) {
  const E = layer.numExperts
  const byToken = new Map<number, { count: number; chosen: number[] }>()
  const all = zeros(E)
  tokens.forEach(({ token }, t) => {
    const entry = byToken.get(token) ?? { count: 0, chosen: zeros(E) }
    byToken.set(token, entry)
    entry.count++
    for (const expert of chosenExperts(layer, t)) {
      entry.chosen[expert]++
      all[expert]++
    }
  })
  const frequent = [...byToken].filter(([, { count }]) => count >= MIN_COUNT)
  return all.map((total, expert) =>
    frequent
      .map(([token, { count, chosen }]) => {
        const share = chosen[expert] / count
        return {
          token,
          text: textOf(token),
          /** Times that it was routed. */
          count,
          /** Share of these that went to the expert. */
          share,
          /** `share` by the share of all tokens that went to the expert. */
          lift: share / (total / tokens.length),
        }
      })
      .filter(({ lift }) => lift > 1) // NaN, of an expert without tokens, is not
      .sort((a, b) => b.lift - a.lift || b.count - a.count || a.token - b.token)
      .slice(0, TYPICAL),
  )
}

function zeros(E: number): number[] {
  return new Array<number>(E).fill(0)
}
