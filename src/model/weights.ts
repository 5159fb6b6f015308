import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import { heldAs, heldEntry } from '../backend/held.ts'
import { tensorflow } from '../backend/tensorflow.ts'
import type { MoeConfig } from './config.ts'
import type { RouterRules } from './router/types.ts'
import { leaves } from './tree.ts'

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

/** All experts of a layer: gate and up [E, 2H, D], down [E, D, H]. */
export interface StackedExperts {
  gateUp: tf.Tensor3D
  down: tf.Tensor3D
}

export interface DenseWeights {
  kind: 'dense'
  expert: ExpertWeights
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
  /** What every token passes through. */
  shared?: ExpertWeights
}

/** How a layer's router chooses, without its matrix. */
export function routerRules({ router: config }: MoeConfig, { scoreBias }: MoeWeights): RouterRules {
  return { config, scoreBias }
}

export interface AttentionWeights {
  /** Queries, keys and values side by side [D, (Nq + 2 Nk) d]. */
  qkv: LinearWeights
  /** [Nq d, D] */
  output: LinearWeights
  /** Norms of a head [d]. */
  qkNorm?: { query: tf.Tensor1D; key: tf.Tensor1D }
}

export interface BlockWeights {
  /** [D] */
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

/**
 * Experts in the form that a checkpoint is loaded to: where the device can cut a stack without copying they are stacked, and each
 * again is a view into the stack, so that nothing is held twice; the given tensors are freed.
 */
export function asLoaded(experts: ExpertWeights[]): Pick<MoeWeights, 'experts' | 'stacked'> {
  if (!backend().cutsShareMemory) return { experts }
  const stack = (part: 'gateUp' | 'down') => tf.stack(experts.map((e) => e[part].weight)) as tf.Tensor3D
  const stacked = { gateUp: stack('gateUp'), down: stack('down') }
  for (const { gateUp, down } of experts) tf.dispose([gateUp.weight, down.weight])
  return { stacked, experts: cutExperts(stacked) }
}

/** Each expert as a view into the stack. */
export function cutExperts(stacked: StackedExperts): ExpertWeights[] {
  const node = tensorflow()
  const view = (from: tf.Tensor3D, e: number): LinearWeights => {
    const [, rows, columns] = from.shape
    if (node && heldAs(node, from)) return { weight: heldEntry(node, from, e) as tf.Tensor2D, bias: null }
    const cut = () =>
      tf.reshape(tf.slice(from, [e, 0, 0], [1, rows, columns]), [rows, columns]) as tf.Tensor2D
    return { weight: tf.tidy(cut), bias: null }
  }
  const [E] = stacked.gateUp.shape
  return Array.from({ length: E }, (_, e) => ({
    gateUp: view(stacked.gateUp, e),
    down: view(stacked.down, e),
  }))
}
