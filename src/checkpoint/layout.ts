import type { Layout } from '../families/names.ts'
import { product, sum } from '../sums.ts'

/** What a published tensor holds of the model: matrices (or vectors) one above the other, [out, in] each. */
export interface Held {
  shapes: number[][]
  layout: Layout
  /** Groups that the rows stand in; 1: as in the model. */
  groups: number
}

/** As a published tensor has it; `experts`: of so many. */
export function publishedShape({ shapes, layout }: Held, experts: number | null): number[] {
  const [, ...rest] = shapes[0]
  const joined = [sum(shapes.map(([rows]) => rows)), ...rest]
  const own = layout.transposed ? joined.toReversed() : joined
  if (experts === null) return own
  return layout.flat ? [experts * own[0], ...own.slice(1)] : [experts, ...own]
}

export function isAsInModel({ layout, groups }: Held): boolean {
  return !layout.transposed && groups === 1
}

/** Published numbers in the model's order. */
export function fromPublished(held: Held, published: Float32Array, ours: Float32Array): void {
  pairs(held, (at, ourAt) => {
    ours[ourAt] = published[at]
  })
}

/** The model's numbers in the published order. */
export function toPublished(held: Held, ours: Float32Array): Float32Array {
  const published = new Float32Array(ours.length)
  pairs(held, (at, ourAt) => {
    published[at] = ours[ourAt]
  })
  return published
}

/** Rows of bytes in the model's order. */
export function rowsFromPublished({ shapes, groups }: Held, published: Uint8Array, ours: Uint8Array): void {
  const rows = rowOrder(shapes, groups)
  const bytes = ours.length / rows.length
  rows.forEach((our, row) => {
    ours.set(published.subarray(row * bytes, (row + 1) * bytes), our * bytes)
  })
}

function pairs({ shapes, layout, groups }: Held, take: (published: number, ours: number) => void): void {
  const columns = product(shapes[0].slice(1))
  const rows = rowOrder(shapes, groups)
  rows.forEach((ours, row) => {
    for (let c = 0; c < columns; c++)
      take(layout.transposed ? c * rows.length + row : row * columns + c, ours * columns + c)
  })
}

/** The model's row of each published row. */
function rowOrder(shapes: number[][], groups: number): number[] {
  let before = 0
  const starts = shapes.map(([rows]) => {
    before += rows
    return before - rows
  })
  return Array.from({ length: groups }, (_, group) =>
    shapes.map(([rows], part) =>
      Array.from({ length: rows / groups }, (_, row) => starts[part] + (group * rows) / groups + row),
    ),
  ).flat(2)
}
