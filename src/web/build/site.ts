import type { Domain } from '../../corpus/types.ts'
import type { ModelFacts, Run, Vectors } from '../engine/protocol.ts'

/*
 * What the build writes beside the page's own files: the models, a run to open with, and what experts were seen to do. Retrained
 * models change these alone.
 */

/** models/index.json: models that can be had, the first one first. */
export interface OfferedModel {
  id: string
  name: string
  /** Relative to the page. */
  url: string
  /** Of its weights; null where that is not known. */
  bytes: number | null
}

/** data/opening.json: shown until the engine is there. */
export interface Opening {
  prompt: string
  facts: ModelFacts
  run: Run
  vectors: Vectors
  samples: { domain: Domain; name: string; text: string }[]
  fact: FactExample | null
}

/** A fact to forget by hand. */
export interface FactExample {
  /** The model that has learned it. */
  model: string
  /** Asks for it in words that no training text has for it. */
  prompt: string
  value: string
  /** Without any one of these the model says something else. */
  experts: { layer: number; expert: number }[]
  /** Experts that were switched off in turn. */
  of: number
}

/** data/experts.json, by model. */
export type ExpertCards = Record<string, LayerCards[]>

export interface LayerCards {
  layer: number
  /** Routed tokens that were counted. */
  tokens: number
  /** K / E: a domain's share without any preference. */
  baseline: number
  experts: {
    /** Of the layer's assignments; even is 1 / E. */
    load: number
    /** Tokens that it gets most above chance. */
    typical: { text: string; share: number; lift: number; count: number }[]
    /** Of each domain's tokens those that it is among the K of. */
    domains: Partial<Record<Domain, number>>
  }[]
}
