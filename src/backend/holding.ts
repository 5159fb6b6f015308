import type * as tf from '@tensorflow/tfjs-core'
import type { HalfDtype } from './dtypes.ts'

/** Whole numbers of so many bits, a scale for each group of them along a row (src/native/weights.h). */
export interface Groups {
  bits: 8 | 4
  group: number
}

/** How the numbers of a weight are held. */
export type Holding = { dtype: HalfDtype; groups?: undefined } | { dtype: 'uint8'; groups: Groups }

/** Whether numbers are held alike; null is float32. */
export function isHeldAlike(a: Holding | null | undefined, b: Holding | null | undefined): boolean {
  return a?.dtype === b?.dtype && a?.groups?.bits === b?.groups?.bits && a?.groups?.group === b?.groups?.group
}

/** A weight [..., out, in] in memory; the tensor that stands for it may be its transpose. */
export type Held = Holding & {
  /** Of what is held; with groups the last size is a row's bytes. */
  shape: readonly number[]
  /** Numbers of a row. */
  in: number
  transposed: boolean
  /** What TensorFlow gets when it first asks; of an entry none. */
  bytes: Uint8Array | null
  /** Where it is one entry along another one's first axis. */
  entry: { of: tf.Tensor; index: number } | null
}

/** Bytes of a row of so many numbers; null where rows cannot be held so. */
export function rowBytes({ groups }: Holding, numbers: number): number | null {
  if (!groups) return 2 * numbers
  const { bits, group } = groups
  const known = group === 32 || group === 64 || group % 128 === 0
  return known && numbers % group === 0 ? (numbers * bits) / 8 + (numbers / group) * 2 : null
}
