import type * as tf from '@tensorflow/tfjs-core'
import type { GroupedShape, RopeConfig } from '../config.ts'
import type { RopeTables } from '../rope.ts'
import type { AttentionWeights } from '../weights.ts'

/**
 * What a cache holds of the tokens that a call's queries may look at, its own included: parts [B, N, S, w], such as keys and
 * values of N heads, or one compressed vector.
 */
export type Remembered = tf.Tensor4D[]

/** Which keys a query may look at, and for how many query heads a key-value head the mask's rows are repeated (G). */
export interface MaskShape extends Pick<GroupedShape, 'slidingWindow' | 'chunk'> {
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
  /** T */
  length: number
  normEps: number
  /** Tables of the positions of the call's tokens. */
  rope(rope: RopeConfig, headDim: number): RopeTables
  /** Positions of the call's tokens [B, T], as float32. */
  positions(): tf.Tensor2D
  /** The T queries in order, cut where they may look at other columns. */
  blocks(shape: MaskShape): QueryBlock[]
  /** Takes what a layer's new tokens leave, [B, T, parts N, w], part after part, and gives all that its queries may see. */
  cache: { append(layer: number, added: tf.Tensor4D): Remembered }
}

/** What a cache holds of each token in a layer, and how many tokens back anyone looks. */
export interface CachedShape extends Pick<GroupedShape, 'slidingWindow'> {
  /** Such as keys and values. */
  parts: number
  /** N: vectors a part. */
  heads: number
  /** w */
  width: number
}

/** The attention of the layer of this number: x [B T, D] -> [B T, D]. */
export type AttentionLayer<Weights = AttentionWeights> = (
  x: tf.Tensor2D,
  weights: Weights,
  layer: number,
) => tf.Tensor2D

/** One kind of attention: what the model asks of it beside the facts of its shape. */
export interface AttentionKind<Config, Weights = AttentionWeights> {
  cached(config: Config): CachedShape
  /** The layers of one description in a call; what they share is made here, once. */
  layers(config: Config, call: AttentionCall): AttentionLayer<Weights>
}
