import { mixtureAt } from '../model/config.ts'
import { canSpare } from '../model/router/interventions.ts'
import type { Document } from './documents.ts'
import type { ByDomain } from './domains.ts'
import { documentLosses, domainsOf, type EvalForward, type Watch } from './loss.ts'
import { ratioOfSums } from './ratio.ts'

/** Nats a token more than intact, on the same documents. */
export interface DisabledLoss {
  expert: number
  /** Mean over domains. */
  mean: number
  byDomain: ByDomain<number>
  /** Of each difference, over documents. */
  standardError: ByDomain<number | null>
}

/**
 * Losses of documents when one expert of one layer may not be chosen, less the intact ones (`intact`, nats a document):
 * what the model loses with it while the others stand in. An entry an expert; null where too few would be left.
 */
export async function disabledLosses(
  model: EvalForward,
  documents: readonly Document[],
  intact: readonly number[],
  layer: number,
  { signal, onShare }: Watch = {},
): Promise<DisabledLoss[] | null> {
  const { router } = mixtureAt(model.config, layer)
  if (!canSpare(0, router, layer)) return null
  const results: DisabledLoss[] = []
  for (let expert = 0; expert < router.numExperts; expert++) {
    const losses = await documentLosses(model, documents, {
      interventions: { disable: [{ expert, layer }] },
      signal,
      onShare: (share) => onShare?.((expert + share) / router.numExperts),
    })
    results.push(differences(expert, documents, losses, intact))
  }
  return results
}

/** The same documents with and without, so that what makes one easy or hard falls out of the difference. */
function differences(
  expert: number,
  documents: readonly Document[],
  losses: readonly number[],
  intact: readonly number[],
): DisabledLoss {
  const result: DisabledLoss = { expert, mean: 0, byDomain: {}, standardError: {} }
  const domains = domainsOf(documents)
  for (const domain of domains) {
    const own = [...documents.keys()].filter((i) => documents[i].domain === domain)
    const { mean, standardError } = ratioOfSums(
      own.map((i) => losses[i] - intact[i]),
      own.map((i) => documents[i].tokens.length - 1),
    )
    result.byDomain[domain] = mean
    result.standardError[domain] = standardError
    result.mean += mean / domains.length
  }
  return result
}
