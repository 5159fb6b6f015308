import type { MatrixError } from '../checkpoint/quantize.ts'
import type { Fact, FactsSize } from '../corpus/facts/world.ts'
import { ALL_DOMAINS, DOMAINS } from '../corpus/index.ts'
import type { LoadedModel } from '../load-model.ts'
import type { RoutingTrace } from '../model/trace.ts'
import { MoeModel } from '../model/transformer.ts'
import { mean, sum } from '../sums.ts'
import { type Document, documentsOf, TextCodec } from './documents.ts'
import { answerFacts, type FactsKnown, factQuestions, knownFacts } from './facts.ts'
import {
  checkLosses,
  type EvalForward,
  type LossOptions,
  lossReport,
  predictions,
  type Watch,
} from './loss.ts'

/** What quantising changed of a model, on held-out texts of this project's corpus. */
export interface QuantizedReport {
  /** Mean loss in nats a token, over domains: of the original, and of the quantised model. */
  loss: { before: number; after: number }
  /** Share of tokens after which both find the same next token the most likely, and how many tokens that was. */
  agreement: { share: number; tokens: number }
  /** Null unless their number was given. */
  facts: FactsChanged | null
  layers: LayerError[]
}

/** What quantising changed of the facts that a model knows, each asked for in held-out words. */
export interface FactsChanged {
  before: FactsKnown
  after: FactsKnown
  /** Right before and wrong after, and the other way round. */
  lost: NamedFact[]
  gained: NamedFact[]
}

type NamedFact = Pick<Fact, 'name' | 'attribute' | 'value'>

/** Errors of a mixture's experts, and of the others' matrices. */
export interface LayerError {
  layer: number
  /** Root mean square error of the matrices, as a share of their numbers'; mean of those outside experts. */
  others: number | null
  /** The same of each expert, and its share of the layer's assignments in the texts. */
  experts: { error: number; share: number }[]
  /** Mean error of the busier half of the experts, and of the other; null without experts. */
  busy: number | null
  rare: number | null
}

/** What both models read. */
export interface Compared {
  /** Documents of each domain. */
  samples: number
  /** How many facts they were trained on, which become a domain, and all of which are asked for. Default: none. */
  facts?: FactsSize
}

/** Documents of each domain, where nobody says how many. */
export const QUANTIZED_SAMPLES = 20

/** Compares a model with what quantising made of it. */
export async function compareQuantized(
  original: LoadedModel,
  quantized: LoadedModel,
  errors: readonly MatrixError[],
  { samples, facts }: Compared,
  watch: Watch = {},
): Promise<QuantizedReport> {
  const codec = new TextCodec(original.dir, original.config, original.tokenizer)
  const domains = facts ? ALL_DOMAINS : DOMAINS
  const documents = await documentsOf(codec, domains, { split: 'heldout', seed: 1, facts }, samples)
  const counts = original.config.layers.map(({ feedForward }) =>
    feedForward.kind === 'moe' ? new Array<number>(feedForward.router.numExperts).fill(0) : [],
  )
  const onTrace = ({ layers }: RoutingTrace) => {
    for (const { layer, tokensPerExpert } of layers)
      for (const [e, tokens] of tokensPerExpert.entries()) counts[layer][e] += tokens
  }
  const part = partsOf(watch, facts ? 4 : 2)
  const [first, second] = [original, quantized].map(eagerly)
  const before = await readingOf(first, documents, { ...part(0), onTrace })
  const after = await readingOf(second, documents, part(1))
  const same = before.chosen.filter((token, i) => token === after.chosen[i]).length
  return {
    loss: {
      before: lossReport(documents, before.losses).mean,
      after: lossReport(documents, after.losses).mean,
    },
    agreement: { share: same / before.chosen.length, tokens: before.chosen.length },
    facts: facts ? await factsChanged(original, quantized, codec, facts, [part(2), part(3)]) : null,
    layers: counts.map((tokens, layer) => layerError(layer, tokens, errors)),
  }
}

/** The same model op by op: every shape of a batch would need a graph. */
function eagerly({ config, weights, dispatch }: LoadedModel): MoeModel {
  return new MoeModel(config, weights, dispatch)
}

/** Watches for parts of the work that take as long each. */
function partsOf({ signal, onShare }: Watch, parts: number): (part: number) => Watch {
  return (part) => ({ signal, onShare: (share) => onShare?.((part + share) / parts) })
}

/** The loss of each document, and the most likely token after each of all their tokens. */
async function readingOf(model: EvalForward, documents: readonly Document[], options: LossOptions) {
  const losses = new Array<number>(documents.length)
  const chosen: number[] = []
  for await (const prediction of predictions(model, documents, { ...options, choose: true })) {
    losses[prediction.document] = sum(prediction.losses)
    chosen.push(...prediction.chosen!)
  }
  checkLosses(losses)
  return { losses, chosen }
}

async function factsChanged(
  original: EvalForward,
  quantized: EvalForward,
  codec: TextCodec,
  size: FactsSize,
  [first, second]: [Watch, Watch],
): Promise<FactsChanged> {
  const questions = await factQuestions(codec, size, 'heldout')
  const before = await answerFacts(original, questions, first)
  const after = await answerFacts(quantized, questions, second)
  const rightOnly = (these: typeof before, those: typeof before) =>
    questions
      .filter((_, i) => these[i].right && !those[i].right)
      .map(({ fact: { name, attribute, value } }) => ({ name, attribute, value }))
  return {
    before: knownFacts(questions, before),
    after: knownFacts(questions, after),
    lost: rightOnly(before, after),
    gained: rightOnly(after, before),
  }
}

function layerError(layer: number, tokens: readonly number[], errors: readonly MatrixError[]): LayerError {
  const own = errors.filter(({ name }) => name.startsWith(`blocks.${layer}.`))
  const errorOf = (list: readonly MatrixError[]) =>
    list.length > 0 ? mean(list.map(({ relative }) => relative)) : null
  const all = Math.max(1, sum([...tokens]))
  const experts = tokens.flatMap((count, e) => {
    const error = errorOf(own.filter(({ name }) => name.includes(`.experts.${e}.`)))
    return error === null ? [] : [{ error, share: count / all }]
  })
  const byUse = experts.toSorted((a, b) => b.share - a.share)
  const half = Math.ceil(byUse.length / 2)
  const meanOf = (list: typeof byUse) => (list.length > 0 ? mean(list.map(({ error }) => error)) : null)
  return {
    layer,
    others: errorOf(own.filter(({ name }) => !name.includes('.experts.'))),
    experts,
    busy: meanOf(byUse.slice(0, half)),
    rare: meanOf(byUse.slice(half)),
  }
}
