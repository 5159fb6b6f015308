import { attentionFacts, expands } from '../model/attention/facts.ts'
import type { AttentionShape, ModelShape } from '../model/config.ts'
import type { Dims } from '../model/shapes.ts'
import { ExpertStack, type ModelPart, type TensorSpec } from '../model/tensor-spec.ts'
import { leaves, mapValues } from '../model/tree.ts'
import type { DispatchName } from '../model/ways.ts'
import { weightTable } from '../model/weight-table.ts'
import { sum } from '../sums.ts'
import { expertParameters } from './parameters.ts'

/*
 * FLOPs of the matrix products, a multiply-add counted as 2. Left out, here and in what `countMatmulFlops` counts: norms,
 * rotary embedding, softmax, top-k, SiLU, gather and scatter, residual sums. They are few FLOPs but not little time.
 */

/** What FLOPs are counted by. */
export const FLOP_PARTS = [
  'attentionProjections', // queries, keys, values and output
  'attentionScores', // q k and p v over every key, masked or not: nothing skips the half that causality hides
  'router',
  'experts', // routed, or the one feed-forward of a layer without
  'sharedExperts',
  'unembedding',
] as const
export type FlopParts = Record<(typeof FLOP_PARTS)[number], number>

/** One mixture layer on T tokens: its router, and the experts on as many rows as the dispatch gives them. */
export function moeLayerFlops(dims: Omit<Dims, 'V'>, dispatch: DispatchName): number {
  const { T, D, H, E } = dims
  return 2 * T * D * E + 2 * expertRows(dims, dispatch) * expertParameters(D, H)
}

/** Token rows that experts run on: `dense` T E, `sparse` and `gather` T K. */
export function expertRows({ T, E, K }: Pick<Dims, 'T' | 'E' | 'K'>, dispatch: DispatchName): number {
  return T * (dispatch === 'dense' ? E : K)
}

export interface ForwardShape {
  /** T: new tokens of the call, all sequences together. */
  tokens: number
  /**
   * S: keys that a query meets on average, its own call's included, by layer or in all alike; for a prompt from an empty cache
   * `meanColumnsMet`.
   */
  context: number | ((attention: AttentionShape) => number)
  /** Rows that get logits: T, or one a sequence when only the last are asked for. */
  logitRows: number
  dispatch: DispatchName
  /** As `AttentionFacts.scores` says; default: as the engine does for one sequence of these tokens. */
  absorbed?: boolean
}

/** One token that meets `context` keys, itself included, and gets logits. */
export function flopsPerToken(model: ModelShape, context: number, dispatch: DispatchName): FlopParts {
  return forwardFlops(model, { tokens: 1, context, logitRows: 1, dispatch })
}

/** A whole forward by part. */
export function forwardFlops(model: ModelShape, shape: ForwardShape): FlopParts {
  const { hiddenSize: D, vocabSize: V, layers } = model
  const { tokens: T, context, logitRows } = shape
  const keysOf = typeof context === 'number' ? () => context : context
  const parts = Object.fromEntries(FLOP_PARTS.map((part) => [part, 0])) as FlopParts
  parts.unembedding = 2 * logitRows * D * V
  for (const [, leaf] of leaves<TensorSpec | ExpertStack>(weightTable(model))) {
    const part = PRODUCTS[leaf.part]
    if (part) parts[part] += 2 * rowsThrough(leaf, shape) * leaf.multiplied
  }
  for (const { attention } of layers) {
    const absorbed = shape.absorbed ?? !(attention.kind === 'latent' && expands(attention, T))
    parts.attentionScores += T * attentionFacts(attention).scores(attention, keysOf(attention), absorbed)
  }
  return parts
}

/** The parts that rows of every layer are multiplied with. */
const PRODUCTS: Partial<Record<ModelPart, keyof FlopParts>> = {
  attention: 'attentionProjections',
  router: 'router',
  experts: 'experts',
  dense: 'experts',
  sharedExperts: 'sharedExperts',
}

/** Rows that a tensor, or the experts of a stack together, are multiplied with. */
function rowsThrough(leaf: TensorSpec | ExpertStack, { tokens: T, dispatch }: ForwardShape): number {
  if (!(leaf instanceof ExpertStack)) return T
  return expertRows({ T, E: leaf.count, K: leaf.chosen }, leaf.part === 'experts' ? dispatch : 'sparse')
}

export function totalFlops(parts: FlopParts): number {
  return sum(Object.values(parts))
}

/** Every part times `factor`. */
export function scaled(parts: FlopParts, factor: number): FlopParts {
  return mapValues(parts, (flops) => factor * flops)
}
