import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { heldAs, heldEntry } from '../backend/held.ts'
import { tensorflow } from '../backend/tensorflow.ts'
import { sum } from '../sums.ts'
import { type MoeConfig, mixturesOf } from './config.ts'
import type { RouterRules } from './router/types.ts'
import { leaves, mapLeaves } from './tree.ts'

/** `y = x W + b`, stored [in, out] so that a row of x meets contiguous weights; files store the transpose. */
export interface LinearWeights {
  weight: tf.Tensor2D
  bias: tf.Tensor1D | null
}

/**
 * One SwiGLU, its matrices [out, in] as files have them: gate above up in one [2H, D] (one product instead of two), down
 * [D, H]. So they stand on the left of products, which is faster for many rows, and for one row read along its rows
 * (docs/log.md). Biases [2H], [D].
 */
export interface ExpertWeights {
  gateUp: LinearWeights
  down: LinearWeights
}

/** All experts of a layer: gate and up [E, 2H, D], down [E, D, H]; biases [E, 2H], [E, D]. */
export type StackedExperts = Record<keyof ExpertWeights, { weight: tf.Tensor3D; bias: tf.Tensor2D | null }>

export interface DenseWeights {
  kind: 'dense'
  expert: ExpertWeights
}

/** Experts by their number; an array is one. */
export interface Experts {
  readonly length: number
  at(expert: number): ExpertWeights | undefined
}

/** What became of experts that were needed: those found in memory, those that were read, and the bytes that these take there. */
export interface ExpertReads {
  hits: number
  misses: number
  bytes: number
}

/** A layer's experts that stay in a file and are read when they are needed (expert-cache.ts). */
export interface ExpertsOnDisk extends Experts {
  /** Since the model was loaded. */
  readonly reads: Readonly<ExpertReads>
  /** One of them, read if it is not there; its tensors are good until another one is asked for. */
  at(expert: number): ExpertWeights
  hasRoomFor(experts: number): boolean
  /**
   * Those that were chosen, or all, there at the same time; null where there is no room for so many. While a graph is recorded, a node
   * is added that does so when the graph has chosen; whoever runs it sees to it that there is room.
   */
  together(chosen: tf.Tensor, all?: boolean): Experts | null
  /** Of which stack a tensor of an expert is a part, and which one. */
  entryOf(dataId: object): { of: tf.Tensor; index: number } | undefined
  dispose(): void
}

export interface MoeWeights {
  kind: 'moe'
  /** Router matrix [D, E]. */
  router: LinearWeights
  /** Added to the scores for choosing only [E] (DeepSeek-V3's `e_score_correction_bias`). */
  scoreBias: Float32Array | null
  /** One pair of matrices an expert: slicing a stacked [E, D, H] would copy. */
  experts: ExpertWeights[]
  /** The same numbers stacked, in the same memory, where the device can cut a stack without copying (TensorFlow). */
  stacked?: StackedExperts
  /** In the place of `experts`, which are none then, where they stay in a file. */
  onDisk?: ExpertsOnDisk
  /** What every token passes through. */
  shared?: ExpertWeights
  /** [1, D]: the sigmoid of its product with a token multiplies what `shared` gives. */
  sharedGate?: tf.Tensor2D
}

/** How a layer's router chooses, without its matrix. */
export function routerRules({ router: config }: MoeConfig, { scoreBias }: MoeWeights): RouterRules {
  return { config, scoreBias }
}

/** What routers learned for choosing, an entry a mixture layer; null where they have no bias for it. */
export function choosingBiases({ blocks }: ModelWeights): (Float32Array | null)[] {
  return mixturesOf(blocks).map(({ scoreBias }) => scoreBias)
}

export interface GroupedWeights {
  /** Queries, keys and values side by side [D, (Nq + 2 Nk) d]. */
  qkv: LinearWeights
  /** [Nq d, D] */
  output: LinearWeights
  /** Norms of a head [d], or of all heads [Nq d] and [Nk d]. */
  qkNorm?: { query: tf.Tensor1D; key: tf.Tensor1D }
  /** Logits that join the softmax [Nq]. */
  sinks?: tf.Tensor1D
}

/** Rq and Rk are the ranks of the compressed query and of compressed keys and values, n, r and v the widths of a head. */
export interface LatentWeights {
  /** [D, Rq] and [Rq], where queries are compressed. */
  queryDown?: LinearWeights
  queryNorm?: tf.Tensor1D
  /** [Rq or D, Nq (n + r)] */
  query: LinearWeights
  /** [D, Rk + r]: what is compressed, and the one key that is rotated. */
  keyValueDown: LinearWeights
  /** [Rk] */
  keyValueNorm: tf.Tensor1D
  /** [Nq n + Nq v, Rk]: what expands to all heads' keys, without rotation, above what expands to their values. */
  keyValue: tf.Tensor2D
  /** [Nq v, D] */
  output: LinearWeights
}

export type AttentionWeights = GroupedWeights | LatentWeights

export interface BlockWeights {
  /** [D]; under LayerNorm with biases these stand behind it, [2D], here as in the other norms. */
  attentionNorm: tf.Tensor1D
  attention: AttentionWeights
  /** [D] */
  feedForwardNorm: tf.Tensor1D
  feedForward: DenseWeights | MoeWeights
}

export interface ModelWeights {
  /** [V, D] */
  embedding: tf.Tensor2D
  blocks: BlockWeights[]
  /** [D] */
  finalNorm: tf.Tensor1D
  /** [D, V]; null when tied to the embedding. */
  unembedding: LinearWeights | null
}

/** Every tensor of the model once, for disposing and for counting bytes. */
export function allTensors(weights: ModelWeights): tf.Tensor[] {
  const all = leaves<tf.Tensor | Float32Array>(weights).map(([, leaf]) => leaf)
  return all.filter((leaf) => leaf instanceof tf.Tensor)
}

/** Of each mixture layer whose experts stay in a file. */
export function expertsOnDisk({ blocks }: ModelWeights): ExpertsOnDisk[] {
  return blocks.flatMap(({ feedForward }) => (feedForward.kind === 'moe' ? (feedForward.onDisk ?? []) : []))
}

/** What has been added to `before`. */
export function readsSince({ reads }: ExpertsOnDisk, before: ExpertReads): ExpertReads {
  const { hits, misses, bytes } = reads
  return { hits: hits - before.hits, misses: misses - before.misses, bytes: bytes - before.bytes }
}

export function sumOfReads(reads: readonly ExpertReads[]): ExpertReads {
  const total = (name: keyof ExpertReads) => sum(reads.map((one) => one[name]))
  return { hits: total('hits'), misses: total('misses'), bytes: total('bytes') }
}

/** The share of needed experts that was found in memory; null where none was needed. */
export function hitRate({ hits, misses }: ExpertReads): number | null {
  return hits + misses > 0 ? hits / (hits + misses) : null
}

/**
 * Experts in the form that a checkpoint is loaded to: where the device can cut a stack without copying they are stacked, and each
 * again is a view into the stack, so that nothing is held twice; the given tensors are freed.
 */
export function asLoaded(experts: ExpertWeights[]): Pick<MoeWeights, 'experts' | 'stacked'> {
  if (!backend().cutsShareMemory) return { experts }
  const stacked = mapLeaves<tf.Tensor>(experts[0], (_, path) => {
    const [matrix, part] = path.split('.') as ['gateUp', 'weight']
    return tf.stack(experts.map((expert) => expert[matrix][part]))
  }) as StackedExperts
  for (const [, tensor] of leaves<tf.Tensor>(experts)) tensor.dispose()
  return { stacked, experts: cutExperts(stacked) }
}

/** Each expert as a view into the stack. */
export function cutExperts(stacked: StackedExperts): ExpertWeights[] {
  const node = tensorflow()
  const view = (from: tf.Tensor, e: number) =>
    node && heldAs(node, from)
      ? heldEntry(node, from, e)
      : tf.tidy(() => tf.squeeze(tf.slice(from, [e], [1]), [0]))
  const [E] = stacked.gateUp.weight.shape
  return Array.from(
    { length: E },
    (_, e) => mapLeaves<tf.Tensor>(stacked, (from) => view(from, e)) as ExpertWeights,
  )
}
