import type * as tf from '@tensorflow/tfjs-core'
import type { GroupedShape, RopeConfig } from '../config.ts'
import type { RopeTables } from '../rope.ts'
import type { AttentionWeights } from '../weights.ts'

/** Keys and values that a call's queries may look at, its own included. */
export interface KeysValues {
  /** [B, Nk, S, d] */
  keys: tf.Tensor4D
  /** [B, Nk, S, d] */
  values: tf.Tensor4D
}

/** Which keys a query may look at, and for how many query heads a key-value head the mask's rows are repeated (G). */
export interface MaskShape {
  slidingWindow: number | null
  groups: number
}

/** Neighbouring queries and what they may look at. */
export interface QueryBlock {
  /** How many of the T queries, in each sequence. */
  tokens: number
  /** Cuts keys or values [B, Nk, S, d] to the C columns that any of them may see. */
  cut(all: tf.Tensor4D): tf.Tensor4D
  /** Added to the scores: [B or 1, 1, G tokens or 1, C] for G query heads a key-value head; null when everything is visible. */
  mask: tf.Tensor4D | null
}

/** What a call has for its attention layers, whatever kind they are. */
export interface AttentionCall {
  /** B */
  batch: number
  normEps: number
  /** Tables of the positions of the call's tokens. */
  rope(rope: RopeConfig, headDim: number): RopeTables
  /** The T queries in order, cut where they may look at other columns. */
  blocks(shape: MaskShape): QueryBlock[]
  /** Takes a layer's new keys and values [B, T, 2 Nk, d], keys first, and gives all that its queries may see. */
  cache: { append(layer: number, added: tf.Tensor4D): KeysValues }
}

/** What a cache holds of each token in a layer, and how many tokens back anyone looks. */
export type CachedShape = Pick<GroupedShape, 'numKeyValueHeads' | 'headDim' | 'slidingWindow'>

/** The attention of the layer of this number: x [B T, D] -> [B T, D]. */
export type AttentionLayer = (x: tf.Tensor2D, weights: AttentionWeights, layer: number) => tf.Tensor2D

/** One kind of attention: what the model asks of it beside the facts of its shape. */
export interface AttentionKind<Config> {
  cached(config: Config): CachedShape
  /** The layers of one description in a call; what they share is made here, once. */
  layers(config: Config, call: AttentionCall): AttentionLayer
}
