import type { ModelConfig } from '../model/config.ts'
import type { Dims } from '../model/shapes.ts'
import {
  type ArchitectureSpec,
  type AttentionSpec,
  architectureOf,
  everyExpert,
  mixturesOf,
} from './architecture.ts'
import { expertParameters, moeLayers, oneExpert, parameterParts } from './parameters.ts'

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
  return BYTES_PER_WEIGHT * weightsRead(architectureOf(config), tokens, { experts: expertsTouched })
}

/** Weight bytes read for one token. */
export function weightBytesPerToken(config: ModelConfig): number {
  const expertsTouched = moeLayers(config).map(({ router }) => router.topK)
  return forwardWeightBytes(config, 1, expertsTouched)
}

/**
 * As `forwardWeightBytes` for any architecture, in weights. `experts` has an entry a mixture of feed-forwards, and
 * `attention` (default: every expert) one a mixture of attention heads, first layer to last.
 */
export function weightsRead(
  spec: ArchitectureSpec,
  tokens: number,
  { experts, attention }: { experts: number[]; attention?: number[] },
): number {
  const { hiddenSize: D, vocabSize: V } = spec
  const every = parameterParts(everyExpert(spec))
  const heads = attention === undefined ? every.attention : attentionRead(spec, attention)
  const routed = mixturesOf(spec).map((layer, i) => experts[i] * oneExpert(layer, D) + layer.outputBiases)
  const { router, sharedExperts, dense, norms } = every
  const always = heads + router + sharedExperts + dense + norms + V * D // the unembedding, tied or not
  return always + tokens * D + routed.reduce((a, b) => a + b, 0)
}

/** Attention weights when so many attention experts are touched in each layer that has them. */
function attentionRead(spec: ArchitectureSpec, touched: number[]): number {
  const remaining = [...touched]
  const layers = spec.layers.map((layer) =>
    layer.attention.kind === 'mixture'
      ? { ...layer, attention: { ...layer.attention, topK: remaining.shift() as number } }
      : layer,
  )
  return parameterParts({ ...spec, layers }).attention
}

/** Numbers that one token leaves in a layer's cache: keys and values, or the compressed vector and the rotated key. */
export function cacheEntries(attention: AttentionSpec): number {
  switch (attention.kind) {
    case 'grouped':
    case 'mixture':
      return 2 * attention.numKeyValueHeads * attention.headDim
    case 'latent':
      return attention.keyValueRank + attention.ropeDim
    case 'linear':
      return 0
  }
}

/** Numbers in the cache of one sequence of `context` tokens; a window keeps its own width, linear attention its state. */
export function cacheNumbers({ layers }: ArchitectureSpec, context: number): number {
  return layers.reduce((sum, { attention }) => {
    const state = attention.kind === 'linear' ? attention.numHeads * attention.headDim ** 2 : 0
    return sum + keysMet(attention, context) * cacheEntries(attention) + state
  }, 0)
}

/** Keys that the last of `context` tokens meets. */
export function keysMet(attention: AttentionSpec, context: number): number {
  const window = attention.kind === 'grouped' ? attention.window : null
  return Math.min(context, window ?? context)
}

/** Keys that a token of a causal prompt of `context` tokens meets on average: (S + 1) / 2 without a window. */
export function meanKeysMet(attention: AttentionSpec, context: number): number {
  const W = keysMet(attention, context)
  return ((W * (W + 1)) / 2 + (context - W) * W) / context
}
