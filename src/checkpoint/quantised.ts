import type { Quantisation } from '../families/quantisation.ts'
import { unpacked } from './compressed.ts'
import { fp8 } from './fp8.ts'
import { mxfp4 } from './mxfp4.ts'
import type { Checkpoint } from './shards.ts'

/** The same checkpoint with quantised tensors as what they stand for, under the names of plain ones, and their scales left out. */
export function dequantised(checkpoint: Checkpoint, quantisation: Quantisation | null): Checkpoint {
  if (!quantisation) return checkpoint
  if (quantisation.method === 'compressed-tensors') return unpacked(checkpoint)
  const named = quantisation.method === 'fp8' ? fp8(checkpoint, quantisation.block) : mxfp4(checkpoint)
  const names = checkpoint.names().filter((name) => !named.hidden(name))
  const plain = new Map(names.map((name) => [named.plainName(name), name]))
  return {
    ...checkpoint,
    names: () => [...plain.keys()],
    has: (name) => plain.has(name),
    get: (name) => named.plain(checkpoint.get(plain.get(name) ?? name)),
  }
}
