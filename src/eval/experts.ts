import type { Domain } from '../corpus/index.ts'
import { joinTraces, type LayerTrace, type RoutingTrace } from '../model/trace.ts'
import { disabledLosses } from './disabled.ts'
import { type Document, type Draw, documentsOfTokens, type TextCodec } from './documents.ts'
import type { ByDomain } from './domains.ts'
import { documentLosses, type EvalForward, type Watch } from './loss.ts'
import { DEAD_SHARE, layerSpecialisation, type RoutedToken } from './specialisation.ts'

/** Routed tokens of each domain for each sample: with equal numbers a frequent domain does not speak for all. */
const TOKENS_A_SAMPLE = 64
/** Of these, for the losses with a disabled expert: each needs a pass of its own. */
const DISABLED_TOKENS_A_SAMPLE = 10
/** Of the work, the pass that records the routing; the rest are passes with an expert disabled. */
const ROUTING_SHARE = 0.25

export type ExpertsReport = Awaited<ReturnType<typeof expertsReport>>
export type LayerExperts = ExpertsReport['layers'][number]

/** What each mixture layer's experts specialise in. */
export async function expertsReport(
  model: EvalForward,
  codec: TextCodec,
  domains: readonly Domain[],
  draw: Draw,
  samples: number,
  { signal, onShare }: Watch = {},
) {
  const documents = await documentsOfTokens(codec, domains, draw, TOKENS_A_SAMPLE * samples)
  const watch = { signal, onShare: (share: number) => onShare?.(ROUTING_SHARE * share) }
  const { losses, trace, tokens } = await routedDocuments(model, documents, watch)
  const short = beginnings(documents, DISABLED_TOKENS_A_SAMPLE * samples)
  const [shorter, intact] = [short.map((i) => documents[i]), short.map((i) => losses[i])]
  const texts = await textsOfTokens(tokens, codec)
  const ofLayer = async (layer: LayerTrace, i: number) => ({
    ...layerSpecialisation(layer, tokens, (id) => texts.get(id)!),
    /** Loss without the expert less the loss with it; null where too few experts are left to choose from. */
    disabled: await disabledLosses(model, shorter, intact, layer.layer, {
      signal,
      onShare: (share) =>
        onShare?.(ROUTING_SHARE + ((1 - ROUTING_SHARE) * (i + share)) / trace.layers.length),
    }),
  })
  const layers: Awaited<ReturnType<typeof ofLayer>>[] = []
  for (const [i, layer] of trace.layers.entries()) layers.push(await ofLayer(layer, i))
  return {
    /** An expert with a smaller share of its layer's assignments is called dead. */
    deadShare: DEAD_SHARE,
    /** Documents and tokens routed, by domain: about the same number of tokens each. */
    documents: countBy(documents, () => 1),
    tokens: countBy(documents, routedTokens),
    /** Of these, what the losses with a disabled expert were computed on. */
    disabledTokens: countBy(shorter, routedTokens),
    /** Each mixture layer over all routed tokens. Lists [E] have an entry an expert. */
    layers,
  }
}

/** One pass with the routers watched: intact losses, and all routed tokens in the order of the trace. */
export async function routedDocuments(
  model: EvalForward,
  documents: readonly Document[],
  watch: Watch = {},
): Promise<{ losses: number[]; trace: RoutingTrace; tokens: RoutedToken[] }> {
  const traces: RoutingTrace[] = []
  const tokens: RoutedToken[] = []
  const losses = await documentLosses(model, documents, {
    ...watch,
    onTrace: (trace, batch) => {
      traces.push(trace)
      for (const { token, sequence } of trace.rows) {
        const document = batch[sequence]
        tokens.push({ token, document, domain: documents[document].domain })
      }
    },
  })
  return { losses, trace: joinTraces(traces), tokens }
}

/** What each different token stands for. */
export async function textsOfTokens(
  tokens: readonly RoutedToken[],
  codec: TextCodec,
): Promise<Map<number, string>> {
  const ids = [...new Set(tokens.map(({ token }) => token))]
  return new Map(await Promise.all(ids.map(async (id) => [id, await codec.tokenText(id)] as const)))
}

/** Indices of each domain's first documents with so many tokens, or a little more. */
function beginnings(documents: readonly Document[], tokens: number): number[] {
  const taken: ByDomain<number> = {}
  return [...documents.keys()].filter((i) => {
    const { domain } = documents[i]
    const before = taken[domain] ?? 0
    if (before >= tokens) return false
    taken[domain] = before + routedTokens(documents[i])
    return true
  })
}

/** The last token is predicted, never read. */
function routedTokens({ tokens }: Document): number {
  return tokens.length - 1
}

function countBy(documents: readonly Document[], count: (document: Document) => number): ByDomain<number> {
  const sums: ByDomain<number> = {}
  for (const document of documents) sums[document.domain] = (sums[document.domain] ?? 0) + count(document)
  return sums
}
