export {
  BYTES_PER_WEIGHT,
  cachedNumbers,
  forwardWeightBytes,
  moeLayerWeightBytes,
  weightBytesPerToken,
} from './bytes.ts'
export { countMatmulFlops } from './count.ts'
export {
  expertRows,
  type FlopParts,
  type ForwardShape,
  flopsPerToken,
  forwardFlops,
  moeLayerFlops,
  totalFlops,
} from './flops.ts'
export { countParameters, type ParameterCount } from './parameters.ts'
