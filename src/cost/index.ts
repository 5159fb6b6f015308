export {
  BYTES_PER_WEIGHT,
  cachedNumbers,
  forwardWeightBytes,
  moeLayerWeightBytes,
  weightBytesPerToken,
} from './bytes.ts'
export { countMatmulFlops, type MatmulCount } from './count.ts'
export {
  expertRows,
  type FlopParts,
  type ForwardShape,
  flopsPerToken,
  forwardFlops,
  moeLayerFlops,
  totalFlops,
} from './flops.ts'
export type { Matmul } from './matmul.ts'
export { countParameters, type ParameterCount, type ParameterParts } from './parameters.ts'
