import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** An argument of an op: how many tensors it stands for (an attribute's value, else one) and whose type they have. */
export interface Argument {
  name: string
  /** DataType, or 0 where `attr` says it. */
  type: number
  attr: string
  count: string
}

/** What TensorFlow's CUDA build has for an op on a card. */
export interface Registration {
  inputs: Argument[]
  outputs: Argument[]
  /** Types that an attribute has where a node does not say. */
  defaults: Record<string, number>
  /** Types that each kernel takes, and which of its arguments lie in the host's memory. */
  kernels: { types: Record<string, number[]>; host: string[] }[]
}

export type Registrations = Record<string, Registration>

export const REGISTRATIONS_FILE = join(import.meta.dirname, '../fixtures/cuda-kernels.json')

/** Stored by `npm run audit:cuda -- --write`. */
export function storedRegistrations(): Registrations {
  return JSON.parse(readFileSync(REGISTRATIONS_FILE, 'utf8')).ops
}
