import { type Groups, rowBytes } from '../backend/holding.ts'
import { QUANTIZE_DEFAULTS, quantizedAs } from '../checkpoint/widths.ts'
import { type ModelShape, mixturesOf } from '../model/config.ts'
import type { TensorSpec } from '../model/tensor-spec.ts'
import { product, sum } from '../sums.ts'
import { weightsRead } from './bytes.ts'
import { everyExpert, parameterParts } from './parameters.ts'

const { group, keep } = QUANTIZE_DEFAULTS

/** Bytes of a number, or whole numbers as `quantize` writes them. */
type Width = 4 | 2 | Groups

/** What weights are held in, widest first. */
const WIDTHS: readonly { name: string; width: Width }[] = [
  { name: 'float32', width: 4 },
  { name: 'bfloat16', width: 2 },
  ...([8, 4] as const).map((bits) => ({
    name: `${bits} bits in groups of ${group}`,
    width: { bits, group },
  })),
]

export interface BytesOfWidth {
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
  return WIDTHS.flatMap(({ name, width }) => {
    const sizeOf = (spec: TensorSpec) => tensorBytes(spec, width)
    const stored = sum(Object.values(parameterParts(everyExpert(model), undefined, sizeOf)))
    const read = (experts: readonly number[]) => weightsRead(model, 1, { experts: [...experts] }, sizeOf)
    return Number.isNaN(stored) ? [] : [{ name, stored, read: read(expertsRun), readByAll: read(all) }]
  })
}

/** NaN where rows are no whole number of groups. */
function tensorBytes(spec: TensorSpec, width: Width): number {
  if (typeof width === 'number') return width * spec.size
  return sum(
    spec.stored.map(({ shape }) => {
      const as = quantizedAs(spec, shape, { ...width, keep })
      if (typeof as === 'string') return (as === 'F32' ? 4 : 2) * product(shape)
      const [rows, columns] = shape
      return rows * (rowBytes({ dtype: 'uint8', groups: as }, columns) ?? Number.NaN)
    }),
  )
}
