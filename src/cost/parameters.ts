import {
  type DenseConfig,
  type LayerShape,
  type ModelShape,
  type MoeShape,
  routerVectors,
} from '../model/config.ts'
import { sum } from '../sums.ts'
import { attentionCost } from './attention.ts'

/** Parameters of a whole model by part. */
export interface ParameterParts {
  /** Input table [V, D]. */
  embedding: number
  attention: number
  router: number
  /** All routed experts of all mixture layers. */
  experts: number
  sharedExperts: number
  /** Feed-forward of layers without experts. */
  dense: number
  norms: number
  /** 0 when tied: the input table serves. */
  unembedding: number
}

/**
 * Owners count differently, so both: with everything, and without the input table and the unembedding (which is what
 * is usually printed as "non-embedding").
 */
export interface ParameterCount {
  parts: ParameterParts
  total: number
  /** What one token uses: K of E experts, everything else in full. */
  active: number
  totalWithoutEmbeddings: number
  activeWithoutEmbeddings: number
}

/**
 * Counts weights from shapes alone: every number that a checkpoint of this model holds. Left out: heads for multi-token
 * prediction, vision and audio encoders.
 */
export function countParameters(model: ModelShape): ParameterCount {
  const parts = parameterParts(everyExpert(model))
  const total = sum(Object.values(parts))
  const active = sum(Object.values(parameterParts(model)))
  const embeddings = parts.embedding + parts.unembedding
  return {
    parts,
    total,
    active,
    totalWithoutEmbeddings: total - embeddings,
    activeWithoutEmbeddings: active - embeddings,
  }
}

/** What one token uses, by part. */
export function parameterParts(model: ModelShape): ParameterParts {
  const { vocabSize: V, hiddenSize: D, tieWordEmbeddings, layers, norms } = model
  const norm = norms?.bias ? 2 * D : D
  const parts: ParameterParts = {
    embedding: V * D,
    attention: 0,
    router: 0,
    experts: 0,
    sharedExperts: 0,
    dense: 0,
    norms: norm * (1 + layers.length * (norms?.perLayer ?? 2)),
    unembedding: tieWordEmbeddings ? 0 : V * D,
  }
  for (const layer of layers) addLayer(parts, layer, D)
  return parts
}

function addLayer(parts: ParameterParts, { attention, feedForward }: LayerShape, D: number): void {
  const cost = attentionCost(attention)
  parts.attention += cost.matrices(attention, D) + cost.biases(attention, D)
  parts.norms += cost.norms(attention)
  if (attention.kind === 'mixture') parts.router += D * attention.numExperts
  if (feedForward.kind === 'dense') {
    parts.dense += denseParameters(feedForward, D)
    return
  }
  parts.router += routerParameters(feedForward, D)
  parts.experts += feedForward.router.topK * oneExpert(feedForward, D) + outputBias(feedForward, D)
  parts.sharedExperts += sharedParameters(feedForward, D)
}

/** gate and up [D, H], down [H, D]. */
export function expertParameters(D: number, H: number): number {
  return 3 * D * H
}

/** One routed expert with its biases. */
export function oneExpert({ intermediateSize: H, expertBias }: MoeShape, D: number): number {
  return expertParameters(D, H) + (expertBias ? 2 * H + D : 0)
}

export function outputBias({ outputBias }: MoeShape, D: number): number {
  return outputBias ? D : 0
}

function denseParameters({ intermediateSize: H, bias }: DenseConfig, D: number): number {
  return expertParameters(D, H) + (bias ? 2 * H + D : 0)
}

function routerParameters({ router }: MoeShape, D: number): number {
  return router.numExperts * (D + routerVectors(router))
}

/** All shared experts together, and the gate on their sum. */
export function sharedParameters({ sharedExpert }: MoeShape, D: number): number {
  if (!sharedExpert) return 0
  return expertParameters(D, sharedExpert.intermediateSize) + (sharedExpert.gate ? D : 0)
}

/** The same model with every expert of every mixture chosen (shape and total stay, all of it is active). */
export function everyExpert(model: ModelShape): ModelShape {
  const layers = model.layers.map(({ attention, feedForward }) => ({
    attention: attention.kind === 'mixture' ? choosing(attention, attention.numExperts) : attention,
    feedForward:
      feedForward.kind === 'moe'
        ? { ...feedForward, router: choosing(feedForward.router, feedForward.router.numExperts) }
        : feedForward,
  }))
  return { ...model, layers }
}

/** The same mixture with `topK` of its experts chosen. */
function choosing<Mixture extends { topK: number }>(mixture: Mixture, topK: number): Mixture {
  return { ...mixture, topK }
}
