import type * as tf from '@tensorflow/tfjs-core'
import type { GroupedDtype, HalfDtype, HeldDtype } from './dtypes.ts'

/**
 * Numbers of so many bits, a scale for each group of them along a row (src/native/weights.h): whole ones, or `floats`, which are e4m3
 * with float32 scales (fp8) or e2m1 with powers of two (mxfp4).
 */
export interface Groups {
  bits: 8 | 4
  group: number
  floats?: true
}

/** How the numbers of a weight are held. */
export type Holding = { dtype: HalfDtype; groups?: undefined } | { dtype: 'uint8'; groups: Groups }

/** Whether numbers are held alike; null is float32. */
export function isHeldAlike(a: Holding | null | undefined, b: Holding | null | undefined): boolean {
  const [one, other] = [a?.groups, b?.groups]
  return (
    a?.dtype === b?.dtype &&
    one?.bits === other?.bits &&
    one?.group === other?.group &&
    one?.floats === other?.floats
  )
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

/** Bytes of a scale. */
export const SCALE_BYTES: Readonly<Record<GroupedDtype, number>> = { int8: 2, int4: 2, fp8: 4, mxfp4: 1 }

export function nameOf(holding: Holding | null): HeldDtype {
  if (!holding) return 'float32'
  return holding.groups ? nameOfGroups(holding.groups) : holding.dtype
}

export function isInGroups(name: HeldDtype): name is GroupedDtype {
  return name in SCALE_BYTES
}

function nameOfGroups({ bits, floats }: Groups): GroupedDtype {
  if (floats) return bits === 8 ? 'fp8' : 'mxfp4'
  return `int${bits}`
}

/** Bytes of a row of so many numbers; null where rows cannot be held so. */
export function rowBytes({ groups }: Holding, numbers: number): number | null {
  if (!groups) return 2 * numbers
  const { bits, group } = groups
  const name = nameOfGroups(groups)
  const known = group === 32 || group === 64 || group % 128 === 0 || (name === 'fp8' && group === 16)
  if (!known || (name !== 'fp8' && numbers % group !== 0)) return null
  return (numbers * bits) / 8 + Math.ceil(numbers / group) * SCALE_BYTES[name]
}
