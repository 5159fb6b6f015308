import { attentionFacts } from '../model/attention/facts.ts'
import { type ModelConfig, type ModelShape, mixturesOf } from '../model/config.ts'
import type { Dims } from '../model/shapes.ts'
import type { ModelPart, TensorSpec } from '../model/tensor-spec.ts'
import { sum } from '../sums.ts'
import { keysKept } from './attention.ts'
import { expertParameters, parameterParts } from './parameters.ts'

/** float32, what the engine keeps its weights in. */
export const BYTES_PER_WEIGHT = 4

/** Bytes of one number by type; scales of quantised types are left out. */
export const DTYPE_BYTES = { float32: 4, bfloat16: 2, float16: 2, fp8: 1, int4: 0.5 } as const
export type CostDtype = keyof typeof DTYPE_BYTES

/** Weight bytes one mixture layer has to read: its router, and each expert that got a token, once. */
export function moeLayerWeightBytes(
  { D, H, E }: Pick<Dims, 'D' | 'H' | 'E'>,
  expertsTouched: number,
): number {
  return BYTES_PER_WEIGHT * (D * E + expertsTouched * expertParameters(D, H))
}

/**
 * Weight bytes a forward has to read, each weight once: everything but the idle experts, and of the input table one row
 * a token. `expertsTouched` holds one entry a mixture layer. Left out: activations, keys and values.
 */
export function forwardWeightBytes(config: ModelConfig, tokens: number, expertsTouched: number[]): number {
  return BYTES_PER_WEIGHT * weightsRead(config, tokens, { experts: expertsTouched })
}

/** Weight bytes read for one token. */
export function weightBytesPerToken(config: ModelConfig): number {
  const expertsTouched = mixturesOf(config.layers).map(({ router }) => router.topK)
  return forwardWeightBytes(config, 1, expertsTouched)
}

/**
 * As `forwardWeightBytes` for any model, in weights, or in what `sizeOf` counts. `experts` has an entry a mixture of feed-forwards, and
 * `attention` (default: every expert) one a mixture of attention heads, first layer to last.
 */
export function weightsRead(
  model: ModelShape,
  tokens: number,
  touched: { experts: number[]; attention?: number[] },
  sizeOf?: (spec: TensorSpec) => number,
): number {
  const remaining: Partial<Record<ModelPart, number[]>> = structuredClone(touched)
  const parts = parameterParts(model, ({ part, count }) => remaining[part]?.shift() ?? count, sizeOf)
  const unembedding = parts.unembedding || parts.embedding // tied: the input table in full
  const always = sum(Object.values(parts)) - parts.embedding - parts.unembedding
  return always + (tokens * parts.embedding) / model.vocabSize + unembedding
}

/**
 * Numbers that a token leaves in the cache; `plain`: that it would by plain attention, which keeps all heads' keys and values where
 * latent attention keeps what they are made of.
 */
export function cachedNumbers({ layers }: ModelShape): { kept: number; plain: number } {
  const kept = layers.map(({ attention }) => attentionFacts(attention).cached(attention))
  const plain = layers.map(({ attention }, i) =>
    attention.kind === 'latent'
      ? attention.numHeads * (attention.nopeDim + attention.ropeDim + attention.valueDim)
      : kept[i],
  )
  return { kept: sum(kept), plain: sum(plain) }
}

/** Numbers in the cache of one sequence of `context` tokens; a window or chunk keeps its own width, linear attention its state. */
export function cacheNumbers({ layers }: ModelShape, context: number): number {
  return sum(
    layers.map(({ attention }) => {
      const cost = attentionFacts(attention)
      return keysKept(attention, context) * cost.cached(attention) + cost.state(attention)
    }),
  )
}
