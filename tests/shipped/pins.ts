import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { mean } from 'd3-array'
import { ALL_DOMAINS, DOMAINS, type Domain } from '../../src/corpus/index.ts'
import { byDomainAndForm, headlineOf, quizzesOf, runQuizzes } from '../../src/eval/answers.ts'
import {
  type Document,
  type Draw,
  documentsOf,
  openingsOf,
  questionsOf,
  TextCodec,
} from '../../src/eval/documents.ts'
import { routedDocuments } from '../../src/eval/experts.ts'
import { documentLosses, lossReport } from '../../src/eval/loss.ts'
import { type RoutedToken, tokenShares } from '../../src/eval/specialisation.ts'
import type { ByDomain } from '../../src/eval/types.ts'
import type { LoadedModel } from '../../src/load-model.ts'
import type { LayerTrace } from '../../src/model/trace.ts'
import { FACTS } from '../../src/train/facts.ts'
import { FIXTURES } from '../helpers/golden.ts'

/** What a trained model is held to: made by models/pin.ts on native CPU, read by the tests beside this file. */
export interface Pin {
  /** SHA-256 of model.safetensors. */
  weights: string
  /** What the model writes, at temperature 0. */
  texts: PinnedText[]
  /** On documents that no training saw. */
  losses: ByDomain<PinnedLoss>
  /** Share of the assignments that the least used expert gets on these documents, each domain counting alike, a number a mixture layer. */
  leastShares: number[]
  /** Sums of two digits with working that are right. */
  sums: { correct: number; total: number }
}

export interface PinnedText {
  domain: Domain
  prompt: string
  /** Ids of the prompt, `<s>` first. */
  promptTokens: number[]
  /** New ids. */
  tokens: number[]
  text: string
  /** Smallest lead of a chosen token's logit over the next best. */
  margin: number
}

export interface PinnedLoss {
  /** Nats a token. */
  mean: number
  /** Nats of each document. */
  documents: number[]
}

/** Random weights: its texts mean nothing, and it has no training to be true to. */
const UNTRAINED = 'random-mixtral'
const MODELS = fileURLToPath(new URL('../../models', import.meta.url))
const PINS = join(FIXTURES, 'shipped')

const DRAW: Draw = { split: 'heldout', seed: 1, facts: FACTS }
const DOCUMENTS_A_DOMAIN = 8
/** Of each of the two forms that ask for a sum of two digits with its working. */
const SUMS_A_FORM = 40
const TEXT_TOKENS = 60
/**
 * Nats a token that a document's loss may be from its pin. Executors and backends were at most 3e-6 apart. The room is for
 * a router's near tie that a processor rounds the other way: one token then goes through another expert, and the loss of
 * its document changes in the third decimal.
 */
export const LOSS_TOLERANCE = 2e-3
/**
 * A text ends before a choice that is closer: there a processor that rounds otherwise might write another word. Between
 * backends logits differ by 1e-4 at most.
 */
export const MIN_MARGIN = 0.02

/** Names of the trained models in models/. */
export function trainedModels(): string[] {
  return readdirSync(MODELS).filter(
    (name) => name !== UNTRAINED && existsSync(join(MODELS, name, 'config.json')),
  )
}

/** Whether a model is trained on facts as well, and so its tokenizer. */
export function readsFacts(name: string): boolean {
  return name.endsWith('-facts')
}

export function modelDir(name: string): string {
  return join(MODELS, name)
}

export function pinFile(name: string): string {
  return join(PINS, `${name}.json`)
}

/** Names that have a pin. */
export function pinned(): string[] {
  return readdirSync(PINS).map((file) => file.replace(/\.json$/, ''))
}

export function readPin(name: string): Pin {
  return JSON.parse(readFileSync(pinFile(name), 'utf8'))
}

export function weightsHash(dir: string): string {
  return createHash('sha256')
    .update(readFileSync(join(dir, 'model.safetensors')))
    .digest('hex')
}

export async function measurePin(model: LoadedModel): Promise<Pin> {
  const texts: PinnedText[] = []
  for (const domain of DOMAINS) texts.push(await pinText(model, domain))
  const documents = await fixedDocuments(model)
  const { losses, trace, tokens } = await routedDocuments(model, documents)
  const { byDomain } = lossReport(documents, losses)
  const ofDomain = (domain: Domain): PinnedLoss => ({
    mean: byDomain[domain]!,
    documents: losses.filter((_, i) => documents[i].domain === domain),
  })
  return {
    weights: weightsHash(model.dir),
    texts,
    losses: Object.fromEntries(domainsOf(model).map((domain) => [domain, ofDomain(domain)])),
    leastShares: trace.layers.map((layer) => leastShare(layer, tokens)),
    sums: await rightSums(model),
  }
}

async function pinText(model: LoadedModel, domain: Domain): Promise<PinnedText> {
  const prompt = fixedPrompt(domain)
  const promptTokens = await codecOf(model).prompt(prompt)
  const { tokens: all } = await model.generate({ tokens: promptTokens, maxTokens: TEXT_TOKENS }).done
  const margins = marginsOf(model, promptTokens, all)
  const close = margins.findIndex((margin) => margin < MIN_MARGIN)
  const tokens = close < 0 ? all : all.slice(0, close)
  const margin = Math.min(...margins.slice(0, tokens.length))
  return { domain, prompt, promptTokens, tokens, text: await codecOf(model).text(tokens), margin }
}

/** The first question that the split has in the domain's first form, or its first opening. */
function fixedPrompt(domain: Domain): string {
  const [first] = questionsOf(domain, DRAW, 1).values()
  return first ? first[0].prompt : openingsOf(domain, DRAW, 1)!.openings[0]
}

/** How far each token's logit is above the best other one. */
function marginsOf(model: LoadedModel, prompt: number[], tokens: number[]): number[] {
  const { logits } = model.forward([...prompt, ...tokens])
  const values = logits.dataSync() as Float32Array
  logits.dispose()
  const V = model.config.vocabSize
  return tokens.map((token, i) => {
    const from = (prompt.length + i - 1) * V
    const others = values.slice(from, from + V).filter((_, other) => other !== token)
    return values[from + token] - others.reduce((a, b) => Math.max(a, b))
  })
}

function codecOf({ dir, config, tokenizer }: LoadedModel): TextCodec {
  return new TextCodec(dir, config, tokenizer)
}

function domainsOf({ dir }: LoadedModel): readonly Domain[] {
  return readsFacts(basename(dir)) ? ALL_DOMAINS : DOMAINS
}

/** The first documents of each domain. */
function fixedDocuments(model: LoadedModel): Promise<Document[]> {
  return documentsOf(codecOf(model), domainsOf(model), DRAW, DOCUMENTS_A_DOMAIN)
}

/** Of the least used expert of a layer: documents of one domain are longer than those of another, and shall not count for more. */
function leastShare(layer: LayerTrace, tokens: readonly RoutedToken[]): number {
  const shares = Object.values(tokenShares(layer, tokens))
  const experts = Array.from({ length: layer.numExperts }, (_, expert) => mean(shares, (own) => own[expert])!)
  return Math.min(...experts) / layer.topK
}

/**
 * Nats a token of the shortest documents, `count` a domain and none above `maxTokens`, less what the pin says: for executors
 * and backends that take long.
 */
export async function lossDifferences(
  model: LoadedModel,
  pin: Pin,
  count: number,
  maxTokens = Number.POSITIVE_INFINITY,
): Promise<number[]> {
  const all = await fixedDocuments(model)
  const chosen = domainsOf(model).flatMap((domain) =>
    all
      .filter((document) => document.domain === domain)
      .map(({ tokens }, i) => ({ tokens, pinned: pin.losses[domain]!.documents[i] }))
      .filter(({ tokens }) => tokens.length <= maxTokens)
      .sort((a, b) => a.tokens.length - b.tokens.length)
      .slice(0, count),
  )
  const losses = await documentLosses(model, chosen)
  return chosen.map(({ tokens, pinned }, i) => (losses[i] - pinned) / (tokens.length - 1))
}

/** Sums of two digits that are in no training text, written with their working. */
async function rightSums(model: LoadedModel): Promise<Pin['sums']> {
  const codec = codecOf(model)
  const quizzes = await quizzesOf(codec, model.config, ['arithmetic'], DRAW, SUMS_A_FORM)
  const sums = quizzes.filter(({ form }) => form === 'worked' || form === 'question')
  const { worked } = headlineOf(byDomainAndForm(await runQuizzes(model, codec, sums), 'answer'))!
  return { correct: worked.correct, total: worked.total }
}
