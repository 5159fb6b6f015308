import { type Holding, rowBytes } from '../backend/holding.ts'
import { CheckpointError } from '../errors.ts'
import { product } from '../sums.ts'
import { quote } from './json.ts'
import type { CheckpointTensor } from './safetensors.ts'

/** Quantised tensors of a method, by their names: as what they stand for, and as what they may be held as. */
export interface Naming {
  /** Whether it is a scale, which goes with another tensor. */
  hidden(name: string): boolean
  plainName(name: string): string
  plain(tensor: CheckpointTensor): CheckpointTensor
}

/** A tensor of a file whose numbers stand in blocks with a scale each, and how it is read. */
export interface Blocks {
  name: string
  /** Of the numbers that it stands for. */
  shape: number[]
  scales: CheckpointTensor
  holding: Holding
  /** Numbers of a row that is held. */
  in: number
  isHeldTurned?: boolean
  /** Fills `target` with the entries `start` to before `start + count` along the first axis. */
  readSlice(start: number, count: number, target: Float32Array): void
  /** The same as rows that are held. */
  readRows(start: number, count: number, target: Uint8Array): void
}

export function tensorOfBlocks(tensor: CheckpointTensor, blocks: Blocks): CheckpointTensor {
  const { name, shape, scales, holding, isHeldTurned } = blocks
  const row = rowBytes(holding, blocks.in)
  const ofOne = product(shape.slice(1))
  const readSlice = (start: number, count: number, given?: Float32Array) => {
    const target = given ?? new Float32Array(count * ofOne)
    blocks.readSlice(start, count, target)
    return target
  }
  return {
    name,
    file: tensor.file,
    dtype: tensor.dtype,
    bytes: tensor.bytes + scales.bytes,
    shape,
    read: (target) => readSlice(0, shape[0], target),
    readSlice,
    holding: row === null ? null : holding,
    isHeldTurned,
    readBytes(start, count, target = new Uint8Array(((count * ofOne) / blocks.in) * (row ?? 0))) {
      blocks.readRows(start, count, target)
      return target
    },
    raw: (offset, count) => tensor.raw(offset, count),
  }
}

/** Each row's numbers and then its scales, of rows whose numbers and scales stand apart. */
export function joinRows(numbers: Uint8Array, scales: Uint8Array, rows: number, target: Uint8Array): void {
  const [ofNumbers, ofScales] = [numbers.length / rows, scales.length / rows]
  for (let row = 0; row < rows; row++) {
    const at = row * (ofNumbers + ofScales)
    target.set(numbers.subarray(row * ofNumbers, (row + 1) * ofNumbers), at)
    target.set(scales.subarray(row * ofScales, (row + 1) * ofScales), at + ofNumbers)
  }
}

export function expectShape({ file, name, shape }: CheckpointTensor, expected: number[]): void {
  if (shape.join() === expected.join()) return
  throw new CheckpointError(
    `${file}: ${quote(name)} has shape [${shape.join(', ')}], expected [${expected.join(', ')}] by its blocks`,
  )
}
