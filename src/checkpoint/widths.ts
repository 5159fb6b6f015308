import type { Groups } from '../backend/holding.ts'
import type { ModelPart, Packing } from '../model/tensor-spec.ts'

export interface QuantizeOptions extends Groups {
  /** Parts that stay as they are; routers and norms do so always. */
  keep: readonly ModelPart[]
}

/** What `quantize` does where it is not told otherwise. */
export const QUANTIZE_DEFAULTS = { group: 32, keep: ['embedding'] as ModelPart[] } as const

/** The unembedding is compared row by row to choose a token: it keeps 8 bits. */
const UNEMBEDDING_BITS = 8
const NEVER: readonly ModelPart[] = ['router', 'norms']

/** How a tensor of a quantised model is stored: in groups, or as numbers of one type. */
export function quantizedAs(
  { part, packing }: { part: ModelPart; packing: Packing },
  shape: readonly number[],
  { bits, group, keep }: QuantizeOptions,
): Groups | 'F32' | 'BF16' {
  if (shape.length >= 2 && !NEVER.includes(part) && !keep.includes(part)) {
    return { bits: part === 'unembedding' ? UNEMBEDDING_BITS : bits, group }
  }
  return packing === 'host' || part === 'router' ? 'F32' : 'BF16'
}
