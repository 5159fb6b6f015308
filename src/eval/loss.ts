import { setImmediate as nextTurn } from 'node:timers/promises'
import * as tf from '@tensorflow/tfjs-core'
import { ALL_DOMAINS, type Domain } from '../corpus/index.ts'
import { InputError } from '../errors.ts'
import type { Interventions } from '../model/router/types.ts'
import { tokenLosses } from '../model/token-losses.ts'
import type { RoutingTrace } from '../model/trace.ts'
import type { MoeModel } from '../model/transformer.ts'
import { mean, sum } from '../sums.ts'
import type { Document } from './documents.ts'
import type { ByDomain } from './domains.ts'
import { ratioOfSums } from './ratio.ts'

/** What evaluating needs of a model. */
export type EvalForward = Pick<MoeModel, 'config' | 'forward' | 'greedy' | 'createCache'>

/** Tokens of a batch, padding included: more at once is no faster. */
const BATCH_TOKENS = 4096
/** Numbers of a batch's logits. */
const BATCH_LOGITS = 2 ** 23

/** Watches long work: called between batches, and ends it. */
export interface Watch {
  signal?: AbortSignal
  /** The share of this work that is done, 0 to 1. */
  onShare?(share: number): void
}

export interface LossOptions extends Watch {
  interventions?: Interventions
  /** Called with what the routers decided about a batch; `rows[].sequence` counts in `documents` (indices of the call). */
  onTrace?(trace: RoutingTrace, documents: number[]): void
}

/**
 * Cross-entropy in nats of each document: the sum of -ln p(token) over all but its first token, each predicted from what
 * stands before it in the same document.
 * @throws InputError when a loss is no number
 */
export async function documentLosses(
  model: EvalForward,
  documents: readonly Pick<Document, 'tokens'>[],
  options: LossOptions = {},
): Promise<number[]> {
  const totals = new Array<number>(documents.length)
  for await (const { document, losses } of predictions(model, documents, options))
    totals[document] = sum(losses)
  checkLosses(totals)
  return totals
}

/** @throws InputError when the loss of a document is no number */
export function checkLosses(losses: readonly number[]): void {
  const broken = losses.findIndex((loss) => !Number.isFinite(loss))
  if (broken >= 0) throw new InputError(`loss: of document ${broken} is ${losses[broken]}, expected a number`)
}

/** What a model says of the tokens of one document after its first: `[t]` is about token t + 1. */
export interface Prediction {
  /** Index in the documents of the call. */
  document: number
  /** -ln p of the token. */
  losses: Float32Array
  /** What the model would have taken in its place; null unless asked for. */
  chosen: Int32Array | null
}

/** Batches of like lengths are padded on the left, and padding is masked. Documents come in the order of the batches. */
export async function* predictions(
  model: EvalForward,
  documents: readonly Pick<Document, 'tokens'>[],
  { signal, onShare, interventions, onTrace, choose = false }: LossOptions & { choose?: boolean } = {},
): AsyncGenerator<Prediction, void> {
  const batches = batchesOf(
    documents.map(({ tokens }) => tokens.length - 1),
    model.config.vocabSize,
  )
  for (const [i, batch] of batches.entries()) {
    await nextTurn() // an interrupt is seen only between turns of the event loop
    signal?.throwIfAborted()
    const trace = onTrace !== undefined
    const result = batchPredictions(
      model,
      batch.map((index) => documents[index].tokens),
      { interventions, trace },
      choose,
    )
    for (const [b, document] of batch.entries()) yield { document, ...result.rows[b] }
    if (result.trace) onTrace?.(result.trace, batch)
    onShare?.((i + 1) / batches.length)
  }
}

/** Indices of documents in batches, like lengths together, the longest first (memory that is not there shows at once). */
function batchesOf(lengths: readonly number[], V: number): number[][] {
  const order = [...lengths.keys()].sort((a, b) => lengths[b] - lengths[a])
  const batches: number[][] = []
  for (const index of order) {
    const batch = batches.at(-1)
    const tokens = batch && (batch.length + 1) * lengths[batch[0]]
    if (tokens && tokens <= BATCH_TOKENS && tokens * V <= BATCH_LOGITS) batch.push(index)
    else batches.push([index])
  }
  return batches
}

function batchPredictions(
  model: EvalForward,
  documents: number[][],
  options: { interventions?: Interventions; trace: boolean },
  choose: boolean,
): { rows: Omit<Prediction, 'document'>[]; trace: RoutingTrace | null } {
  const inputs = documents.map((tokens) => tokens.slice(0, -1))
  const T = Math.max(...inputs.map(({ length }) => length))
  const { logits, trace } = model.forward(inputs, options)
  const targets = new Int32Array(documents.length * T) // padding predicts token 0, which is not summed
  documents.forEach((tokens, b) => {
    targets.set(tokens.slice(1), (b + 1) * T - tokens.length + 1)
  })
  const chosen = choose ? (tf.tidy(() => tf.argMax(logits, -1).dataSync()) as Int32Array) : null
  const losses = tokenLosses(logits as tf.Tensor3D, targets)
  const rows = inputs.map(({ length }, b) => {
    const own: [number, number] = [(b + 1) * T - length, (b + 1) * T]
    return { losses: losses.subarray(...own), chosen: chosen?.subarray(...own) ?? null }
  })
  return { rows, trace }
}

export type LossReport = ReturnType<typeof lossReport>
export type DomainLoss = ReturnType<typeof domainLoss>['detail']

/** Losses of documents by domain, every token of a domain counting the same, and their mean over domains. */
export function lossReport(documents: readonly Document[], losses: readonly number[]) {
  const byDomain: ByDomain<number> = {}
  const details: ByDomain<DomainLoss> = {}
  for (const domain of domainsOf(documents)) {
    const { loss, detail } = domainLoss(documents, losses, domain)
    byDomain[domain] = loss
    details[domain] = detail
  }
  const loss = mean(Object.values(byDomain))
  return {
    /** Mean of `byDomain`: every domain counts the same. */
    mean: loss,
    byDomain,
    /** exp(mean). */
    perplexity: Math.exp(loss),
    /** Mean over domains of their nats / ln 2 / characters: compares across tokenizers. */
    bitsPerCharacter: mean(Object.values(details).map(({ bitsPerCharacter }) => bitsPerCharacter)),
    details,
  }
}

function domainLoss(documents: readonly Document[], losses: readonly number[], domain: Domain) {
  const own = [...documents.keys()].filter((i) => documents[i].domain === domain)
  const nats = own.map((i) => losses[i])
  const predicted = own.map((i) => documents[i].tokens.length - 1)
  const characters = sum(own.map((i) => documents[i].characters))
  const { mean: loss, standardError } = ratioOfSums(nats, predicted)
  const detail = {
    documents: own.length,
    /** Predicted tokens, the end-of-text token included. */
    tokens: sum(predicted),
    /** Unicode code points. */
    characters,
    /** Of the loss, over documents; null with a single one. */
    standardError,
    bitsPerCharacter: sum(nats) / Math.LN2 / characters,
  }
  return { loss, detail }
}

/** The domains that occur, in the corpus's order. */
export function domainsOf(documents: readonly Pick<Document, 'domain'>[]): Domain[] {
  return ALL_DOMAINS.filter((domain) => documents.some((document) => document.domain === domain))
}
