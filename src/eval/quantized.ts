import * as tf from '@tensorflow/tfjs-core'
import type { MatrixError } from '../checkpoint/quantize.ts'
import { DOMAINS } from '../corpus/index.ts'
import type { LoadedModel } from '../load-model.ts'
import { mean, sum } from '../sums.ts'
import { documentsOf, TextCodec } from './documents.ts'
import { documentLosses, type EvalForward, lossReport, type Watch } from './loss.ts'

/** What quantising changed of a model, on held-out texts of this project's corpus. */
export interface QuantizedReport {
  /** Mean loss in nats a token, over domains: of the original, and of the quantised model. */
  loss: { before: number; after: number }
  /** Share of tokens after which both find the same next token the most likely, and how many tokens that was. */
  agreement: { share: number; tokens: number }
  layers: LayerError[]
}

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

/** Documents of each domain, where nobody says how many. */
export const QUANTIZED_SAMPLES = 20

/** Compares a model with what quantising made of it, on `samples` documents of each domain. */
export async function compareQuantized(
  original: LoadedModel,
  quantized: LoadedModel,
  errors: readonly MatrixError[],
  samples: number,
  watch: Watch = {},
): Promise<QuantizedReport> {
  const codec = new TextCodec(original.dir, original.config, original.tokenizer)
  const documents = await documentsOf(codec, DOMAINS, { split: 'heldout', seed: 1 }, samples)
  const counts = original.config.layers.map(({ feedForward }) =>
    feedForward.kind === 'moe' ? new Array<number>(feedForward.router.numExperts).fill(0) : [],
  )
  const half = (from: number): Watch => ({
    signal: watch.signal,
    onShare: (share) => watch.onShare?.(from + share / 2),
  })
  const [before, after] = [new Choices(original), new Choices(quantized)]
  const losses = await documentLosses(before, documents, {
    ...half(0),
    onTrace: ({ layers }) => {
      for (const { layer, tokensPerExpert } of layers)
        for (const [e, tokens] of tokensPerExpert.entries()) counts[layer][e] += tokens
    },
  })
  const lossesAfter = await documentLosses(after, documents, half(0.5))
  const same = before.tokens.filter((token, i) => token === after.tokens[i]).length
  return {
    loss: { before: lossReport(documents, losses).mean, after: lossReport(documents, lossesAfter).mean },
    agreement: { share: same / before.tokens.length, tokens: before.tokens.length },
    layers: counts.map((tokens, layer) => layerError(layer, tokens, errors)),
  }
}

/** A model that remembers the most likely token after each real one. */
class Choices implements EvalForward {
  readonly tokens: number[] = []
  readonly config: EvalForward['config']
  readonly forward: EvalForward['forward']
  readonly greedy: EvalForward['greedy']
  readonly createCache: EvalForward['createCache']

  constructor(model: LoadedModel) {
    this.config = model.config
    this.greedy = model.greedy.bind(model)
    this.createCache = model.createCache.bind(model)
    this.forward = ((sequences: number[][], options = {}) => {
      const result = model.forward(sequences, options)
      const chosen = tf.tidy(() => tf.argMax(result.logits, -1).dataSync())
      const T = chosen.length / sequences.length
      for (const [b, { length }] of sequences.entries())
        this.tokens.push(...chosen.subarray((b + 1) * T - length, (b + 1) * T)) // padding is on the left
      return result
    }) as EvalForward['forward']
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
