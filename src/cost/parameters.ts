import type { ModelConfig, MoeConfig } from '../model/config.ts'
import { sum } from '../sums.ts'
import {
  type ArchitectureSpec,
  type AttentionSpec,
  architectureOf,
  type DenseSpec,
  everyExpert,
  type LayerSpec,
  type MixtureSpec,
} from './architecture.ts'

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

/** Counts weights from shapes alone: every number that a checkpoint of this config holds. */
export function countParameters(config: ModelConfig): ParameterCount {
  return countArchitecture(architectureOf(config))
}

/** As `countParameters`, for any architecture. Left out: heads for multi-token prediction, vision and audio encoders. */
export function countArchitecture(spec: ArchitectureSpec): ParameterCount {
  const parts = parameterParts(everyExpert(spec))
  const total = sum(Object.values(parts))
  const active = sum(Object.values(parameterParts(spec)))
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
export function parameterParts(spec: ArchitectureSpec): ParameterParts {
  const { vocabSize: V, hiddenSize: D, tied, layers, finalNorm } = spec
  const parts: ParameterParts = {
    embedding: V * D,
    attention: 0,
    router: 0,
    experts: 0,
    sharedExperts: 0,
    dense: 0,
    norms: finalNorm,
    unembedding: tied ? 0 : V * D,
  }
  for (const layer of layers) addLayer(parts, layer, D)
  return parts
}

function addLayer(parts: ParameterParts, { attention, feedForward, norms }: LayerSpec, D: number): void {
  parts.attention += attentionMatrices(attention, D) + attentionBiases(attention, D)
  parts.norms += norms + attentionNorms(attention)
  if (attention.kind === 'mixture') parts.router += D * attention.numExperts
  if (feedForward.kind === 'dense') {
    parts.dense += denseParameters(feedForward, D)
    return
  }
  parts.router += routerParameters(feedForward, D)
  parts.experts += feedForward.topK * oneExpert(feedForward, D) + feedForward.outputBiases
  parts.sharedExperts += sharedParameters(feedForward, D)
}

/** gate and up [D, H], down [H, D]. */
export function expertParameters(D: number, H: number): number {
  return 3 * D * H
}

/** One routed expert with its biases. */
export function oneExpert({ width, expertBiases }: MixtureSpec, D: number): number {
  return expertParameters(D, width) + expertBiases
}

export function moeLayers(config: ModelConfig): MoeConfig[] {
  return config.layers.filter((layer) => layer.kind === 'moe')
}

function denseParameters({ width, biases }: DenseSpec, D: number): number {
  return expertParameters(D, width) + biases
}

function routerParameters({ numExperts: E, routerBiases }: MixtureSpec, D: number): number {
  return D * E + routerBiases
}

/** All shared experts together, and the gate on their sum. */
export function sharedParameters({ sharedWidth, sharedGate }: MixtureSpec, D: number): number {
  return expertParameters(D, sharedWidth) + (sharedGate ? D : 0)
}

/**
 * Weights of the products that one token goes through, norms and biases aside; a mixture's router is a router's.
 * Latent: query down [D, r] and up [r, Nq (nope + rope)] (or one matrix), key-value down [D, c + rope] and up
 * [c, Nq (nope + value)], output [Nq value, D]. Linear: queries, keys, values, gate and output.
 */
export function attentionMatrices(attention: AttentionSpec, D: number): number {
  switch (attention.kind) {
    case 'grouped':
      return 2 * D * (attention.numHeads + attention.numKeyValueHeads) * attention.headDim
    case 'linear':
      return 5 * D * attention.numHeads * attention.headDim
    case 'mixture': {
      const { topK, numKeyValueHeads, headDim } = attention
      return 2 * D * (1 + topK) * numKeyValueHeads * headDim
    }
    case 'latent': {
      const { numHeads, queryRank, keyValueRank, nopeDim, ropeDim, valueDim } = attention
      const queries = numHeads * (nopeDim + ropeDim)
      return (
        (queryRank === null ? D * queries : queryRank * (D + queries)) +
        D * (keyValueRank + ropeDim) +
        keyValueRank * numHeads * (nopeDim + valueDim) +
        numHeads * valueDim * D
      )
    }
  }
}

function attentionBiases(attention: AttentionSpec, D: number): number {
  if (attention.kind === 'grouped') return attention.biases
  return attention.kind === 'mixture' ? D : 0
}

function attentionNorms(attention: AttentionSpec): number {
  switch (attention.kind) {
    case 'grouped':
      return attention.norms
    case 'latent':
      return (attention.queryRank ?? 0) + attention.keyValueRank
    case 'linear':
      return attention.numHeads * attention.headDim
    case 'mixture':
      return 0
  }
}
