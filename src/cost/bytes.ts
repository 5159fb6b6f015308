import { type LayerShape, type ModelConfig, type ModelShape, mixturesOf } from '../model/config.ts'
import type { Dims } from '../model/shapes.ts'
import { sum } from '../sums.ts'
import { attentionCost, keysMet } from './attention.ts'
import { everyExpert, expertParameters, oneExpert, outputBias, parameterParts } from './parameters.ts'

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
 * As `forwardWeightBytes` for any model, in weights. `experts` has an entry a mixture of feed-forwards, and
 * `attention` (default: every expert) one a mixture of attention heads, first layer to last.
 */
export function weightsRead(
  model: ModelShape,
  tokens: number,
  { experts, attention }: { experts: number[]; attention?: number[] },
): number {
  const { hiddenSize: D, vocabSize: V } = model
  const every = parameterParts(everyExpert(model))
  const heads = attention === undefined ? every.attention : attentionRead(model, attention)
  const routed = mixturesOf(model.layers).map(
    (layer, i) => experts[i] * oneExpert(layer, D) + outputBias(layer, D),
  )
  const { router, sharedExperts, dense, norms } = every
  const always = heads + router + sharedExperts + dense + norms + V * D // the unembedding, tied or not
  return always + tokens * D + sum(routed)
}

/** Attention weights when so many attention experts are touched in each layer that has them. */
function attentionRead(model: ModelShape, touched: number[]): number {
  const remaining = [...touched]
  const layers = model.layers.map(
    (layer): LayerShape =>
      layer.attention.kind === 'mixture'
        ? { ...layer, attention: { ...layer.attention, topK: remaining.shift() as number } }
        : layer,
  )
  return parameterParts({ ...model, layers }).attention
}

/** Numbers in the cache of one sequence of `context` tokens; a window keeps its own width, linear attention its state. */
export function cacheNumbers({ layers }: ModelShape, context: number): number {
  return sum(
    layers.map(({ attention }) => {
      const cost = attentionCost(attention)
      return keysMet(attention, context) * cost.cached(attention) + cost.state(attention)
    }),
  )
}
