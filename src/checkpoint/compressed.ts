import { type Groups, type Holding, rowBytes } from '../backend/holding.ts'
import { CheckpointError } from '../errors.ts'
import { joinRows } from './blocks.ts'
import { fromGroups } from './groups.ts'
import { quote } from './json.ts'
import type { CheckpointTensor } from './safetensors.ts'
import type { Checkpoint } from './shards.ts'

/**
 * Matrices of whole numbers of 4 or 8 bits in groups along the input, as compressed-tensors packs them ("pack-quantized"): of a matrix
 * `X.weight` [out, in] the numbers `X.weight_packed` int32 [out, in bits / 32], the first in the low bits, each more by half their
 * range than it stands for; `X.weight_scale` [out, in / group], by which a group is multiplied; `X.weight_shape`.
 */
export const PACKED = { numbers: '_packed', scales: '_scale', shape: '_shape' } as const
/** What goes with a matrix whose groups have an offset of their own, or whose inputs are in another order. */
const OTHER_PARTS = ['_zero_point', '_g_idx']

/** The same checkpoint with packed matrices under the names of plain ones. */
export function unpacked(checkpoint: Checkpoint): Checkpoint {
  const packed = new Map<string, string>()
  const hidden = new Set<string>()
  for (const name of checkpoint.names()) {
    if (!name.endsWith(PACKED.numbers)) continue
    const plain = name.slice(0, -PACKED.numbers.length)
    const other = OTHER_PARTS.map((part) => plain + part).find((part) => checkpoint.has(part))
    if (other)
      throw new CheckpointError(
        `${checkpoint.dir}: ${quote(other)} is there, expected symmetric groups in order`,
      )
    packed.set(plain, name)
    for (const part of Object.values(PACKED)) hidden.add(plain + part)
  }
  return {
    ...checkpoint,
    close: () => checkpoint.close(),
    names: () => [...checkpoint.names().filter((name) => !hidden.has(name)), ...packed.keys()],
    has: (name) => packed.has(name) || checkpoint.has(name),
    get: (name) => (packed.has(name) ? new PackedTensor(checkpoint, name) : checkpoint.get(name)),
  }
}

class PackedTensor implements CheckpointTensor {
  readonly file: string
  readonly dtype: string
  readonly shape: number[]
  readonly bytes: number
  readonly holding: Holding | null
  private readonly numbers: CheckpointTensor
  private readonly scales: CheckpointTensor
  private readonly groups: Groups

  constructor(
    checkpoint: Checkpoint,
    readonly name: string,
  ) {
    this.numbers = checkpoint.get(name + PACKED.numbers)
    this.scales = checkpoint.get(name + PACKED.scales)
    const { file, dtype, bytes } = this.numbers
    const [out, words] = this.numbers.shape
    const [, across] = this.scales.shape
    const columns = this.columns(checkpoint.get(name + PACKED.shape), out)
    const bits = (32 * words) / columns
    const group = columns / across
    if ((bits !== 8 && bits !== 4) || dtype !== 'I32' || !Number.isInteger(group)) {
      throw new CheckpointError(
        `${file}: ${quote(name)} has ${words} words of ${dtype} and ${across} scales in a row of ${columns}, expected 8 or 4 bits a number in whole groups`,
      )
    }
    this.file = file
    this.dtype = dtype
    this.bytes = bytes + this.scales.bytes
    this.shape = [out, columns]
    this.groups = { bits, group }
    const holding: Holding = { dtype: 'uint8', groups: this.groups }
    this.holding = this.scales.dtype === 'BF16' && rowBytes(holding, columns) !== null ? holding : null
  }

  read(target?: Float32Array): Float32Array {
    return this.readSlice(0, this.shape[0], target)
  }

  readSlice(start: number, count: number, target?: Float32Array): Float32Array {
    const [, columns] = this.shape
    const values = target ?? new Float32Array(count * columns)
    const scales = this.scales.readSlice(start, count)
    fromGroups(this.numbers.readBytes(start, count), scales, this.groups, values)
    return values
  }

  raw(offset: number, count: number): Uint8Array {
    return this.numbers.raw(offset, count)
  }

  /** Row by row: its numbers, then its scales (src/native/weights.h). */
  readBytes(start: number, count: number, target?: Uint8Array): Uint8Array {
    const numbers = this.numbers.readBytes(start, count)
    const scales = this.scales.readBytes(start, count)
    const rows = target ?? new Uint8Array(numbers.length + scales.length)
    joinRows(numbers, scales, count, rows)
    return rows
  }

  private columns(shape: CheckpointTensor, out: number): number {
    const bytes = shape.readBytes(0, shape.shape[0] ?? 0)
    const sizes = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const each = bytes.length / 2 // 64 bits, or 32
    const [rows, columns] = [0, each].map((at) => sizes.getUint32(at, true))
    if ((each === 8 || each === 4) && rows === out) return columns
    throw new CheckpointError(`${shape.file}: ${quote(shape.name)} does not say the shape of ${out} rows`)
  }
}
