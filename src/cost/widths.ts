import type { HeldDtype } from '../backend/dtypes.ts'
import { type Groups, rowBytes } from '../backend/holding.ts'
import { QUANTIZE_DEFAULTS, quantizedAs } from '../checkpoint/widths.ts'
import { type ModelShape, mixturesOf } from '../model/config.ts'
import type { TensorSpec } from '../model/tensor-spec.ts'
import { product, sum } from '../sums.ts'
import { weightsRead } from './bytes.ts'
import { everyExpert, parameterParts } from './parameters.ts'

const { group, keep } = QUANTIZE_DEFAULTS

/** Bytes of a number, or whole numbers as `quantize` writes them. */
type SizeOfWidth = 4 | 2 | Groups

export const WIDTH_NAMES = ['float32', 'bfloat16', 'int8', 'int4'] as const satisfies HeldDtype[]
/** What weights are held in. */
export type Width = (typeof WIDTH_NAMES)[number]

const grouped = (bits: 8 | 4) => ({ name: `${bits} bits in groups of ${group}`, size: { bits, group } })

/** Widest first. */
export const WIDTHS: Record<Width, { name: string; size: SizeOfWidth }> = {
  float32: { name: 'float32', size: 4 },
  bfloat16: { name: 'bfloat16', size: 2 },
  int8: grouped(8),
  int4: grouped(4),
}

export interface BytesOfWidth {
  width: Width
  /** In words. */
  name: string
  /** Of all weights. */
  stored: number
  /** Of those that are read to write a token. */
  read: number
  /** The same if every expert ran. */
  readByAll: number
}

/**
 * Weight bytes of a model in each width that its matrices can be held in, scales included. `expertsRun` has an entry a mixture;
 * default: K.
 */
export function bytesByWidth(
  model: ModelShape,
  expertsRun: readonly number[] = mixturesOf(model.layers).map(({ router }) => router.topK),
): BytesOfWidth[] {
  const all = mixturesOf(model.layers).map(({ router }) => router.numExperts)
  return WIDTH_NAMES.flatMap((width) => {
    const { name, size } = WIDTHS[width]
    const sizeOf = (spec: TensorSpec) => tensorBytes(spec, size)
    const stored = sum(Object.values(parameterParts(everyExpert(model), undefined, sizeOf)))
    const read = (experts: readonly number[]) => weightsRead(model, 1, { experts: [...experts] }, sizeOf)
    return Number.isNaN(stored) ? [] : [{ width, name, stored, read: read(expertsRun), readByAll: read(all) }]
  })
}

/** NaN where rows are no whole number of groups. */
function tensorBytes(spec: TensorSpec, size: SizeOfWidth): number {
  if (typeof size === 'number') return size * spec.size
  return sum(
    spec.stored.map(({ shape }) => {
      const as = quantizedAs(spec, shape, { ...size, keep })
      if (typeof as === 'string') return (as === 'F32' ? 4 : 2) * product(shape)
      const [rows, columns] = shape
      return rows * (rowBytes({ dtype: 'uint8', groups: as }, columns) ?? Number.NaN)
    }),
  )
}
