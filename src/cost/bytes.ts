import type { ModelConfig } from '../model/config.ts'
import type { Dims } from '../model/shapes.ts'
import { countParameters, expertParameters, moeLayers } from './parameters.ts'

/** float32, the only weight type the engine computes with. */
export const BYTES_PER_WEIGHT = 4

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
  const { hiddenSize: D, vocabSize: V } = config
  const { parts } = countParameters(config)
  const experts = moeLayers(config).map(
    (layer, i) => expertsTouched[i] * expertParameters(D, layer.intermediateSize),
  )
  const { attention, router, sharedExperts, dense, norms } = parts
  const always = attention + router + sharedExperts + dense + norms + V * D // the unembedding, tied or not
  return BYTES_PER_WEIGHT * (always + tokens * D + experts.reduce((a, b) => a + b, 0))
}

/** Weight bytes read for one token. */
export function weightBytesPerToken(config: ModelConfig): number {
  const expertsTouched = moeLayers(config).map(({ router }) => router.topK)
  return forwardWeightBytes(config, 1, expertsTouched)
}
