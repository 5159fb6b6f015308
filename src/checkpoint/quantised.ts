import { CheckpointError } from '../errors.ts'
import type { Quantisation } from '../families/quantisation.ts'
import { product } from '../sums.ts'
import { unpacked } from './compressed.ts'
import { quote } from './json.ts'
import type { CheckpointTensor } from './safetensors.ts'
import type { Checkpoint } from './shards.ts'

/** Fills `target` with entries `start` to before `start + count` along the first axis. */
type ReadSlice = (start: number, count: number, target: Float32Array) => void

/** What fp8's scales are called, after the tensor. */
const FP8_SCALES = '_scale_inv'
/** What mxfp4 keeps in the place of a tensor. */
const MXFP4_BLOCKS = '_blocks'
const MXFP4_SCALES = '_scales'

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
    get: (name) => named.widened(checkpoint.get(plain.get(name) ?? name)),
  }
}

interface Naming {
  /** Whether it is a scale, which goes with another tensor. */
  hidden(name: string): boolean
  plainName(name: string): string
  widened(tensor: CheckpointTensor): CheckpointTensor
}

/** Float8 (e4m3) matrices with a scale a block of `block` rows and columns, which is multiplied with (DeepSeek-V3). */
function fp8(checkpoint: Checkpoint, [blockRows, blockColumns]: [number, number]): Naming {
  const values = e4m3Table()
  return {
    hidden: (name) => name.endsWith(FP8_SCALES) && checkpoint.has(name.slice(0, -FP8_SCALES.length)),
    plainName: (name) => name,
    widened(tensor) {
      if (tensor.dtype !== 'F8_E4M3') return tensor
      const scales = checkpoint.get(`${tensor.name}${FP8_SCALES}`)
      const [rows, columns] = tensor.shape
      const across = Math.ceil(columns / blockColumns)
      expectShape(scales, [Math.ceil(rows / blockRows), across])
      return widenedTensor(tensor, tensor.name, tensor.shape, (start, count, target) => {
        const bytes = tensor.raw(start * columns, count * columns)
        const firstBlock = Math.floor(start / blockRows)
        const blocks = Math.ceil((start + count) / blockRows) - firstBlock
        const factors = scales.readSlice(firstBlock, blocks)
        for (let row = 0; row < count; row++) {
          const line = (Math.floor((start + row) / blockRows) - firstBlock) * across
          for (let column = 0; column < columns; column++) {
            const at = row * columns + column
            target[at] = values[bytes[at]] * factors[line + Math.floor(column / blockColumns)]
          }
        }
      })
    },
  }
}

/** All 256 numbers of float8 e4m3 (finite, NaN at 0x7f): sign, four bits of exponent, three of mantissa. */
function e4m3Table(): Float32Array {
  return Float32Array.from({ length: 256 }, (_, byte) => {
    const exponent = (byte >> 3) & 15
    const mantissa = byte & 7
    const size = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10)
    return (byte & 0x7f) === 0x7f ? Number.NaN : byte < 128 ? size : -size
  })
}

/** Magnitudes of four bits (OCP microscaling formats 1.0, e2m1); the fifth to last bit is the sign. */
const FP4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
/** Numbers that share a scale, a power of two. */
const MXFP4_BLOCK = 32

/** Stacks of matrices of experts, [E, out, in / 32, 16] bytes with two numbers each, low half first (gpt-oss): [E, in, out]. */
function mxfp4(checkpoint: Checkpoint): Naming {
  const values = Float32Array.from({ length: 16 }, (_, bits) => (bits < 8 ? FP4[bits] : -FP4[bits - 8]))
  return {
    hidden: (name) =>
      name.endsWith(MXFP4_SCALES) && checkpoint.has(`${name.slice(0, -MXFP4_SCALES.length)}${MXFP4_BLOCKS}`),
    plainName: (name) => (name.endsWith(MXFP4_BLOCKS) ? name.slice(0, -MXFP4_BLOCKS.length) : name),
    widened(tensor) {
      if (!tensor.name.endsWith(MXFP4_BLOCKS)) return tensor
      const name = tensor.name.slice(0, -MXFP4_BLOCKS.length)
      const scales = checkpoint.get(`${name}${MXFP4_SCALES}`)
      const [E, out, blocks] = tensor.shape
      expectShape(tensor, [E, out, blocks, MXFP4_BLOCK / 2])
      expectShape(scales, [E, out, blocks])
      const width = blocks * MXFP4_BLOCK
      return widenedTensor(tensor, name, [E, width, out], (start, count, target) => {
        const halves = tensor.raw((start * out * width) / 2, (count * out * width) / 2)
        const exponents = scales.raw(start * out * blocks, count * out * blocks)
        for (let at = 0; at < count * out * width; at++) {
          const bits = (halves[at >> 1] >> (4 * (at & 1))) & 15
          const [row, column] = [Math.floor(at / width), at % width]
          const [expert, channel] = [Math.floor(row / out), row % out]
          target[(expert * width + column) * out + channel] =
            values[bits] * 2 ** (exponents[Math.floor(at / MXFP4_BLOCK)] - 127)
        }
      })
    },
  }
}

function expectShape({ file, name, shape }: CheckpointTensor, expected: number[]): void {
  if (shape.join() === expected.join()) return
  throw new CheckpointError(
    `${file}: ${quote(name)} has shape [${shape.join(', ')}], expected [${expected.join(', ')}] by its blocks`,
  )
}

function widenedTensor(
  tensor: CheckpointTensor,
  name: string,
  shape: number[],
  readSlice: ReadSlice,
): CheckpointTensor {
  const slice = (start: number, count: number, target?: Float32Array) => {
    const values = target ?? new Float32Array(count * product(shape.slice(1)))
    readSlice(start, count, values)
    return values
  }
  const { file, dtype, bytes } = tensor
  return {
    name,
    file,
    dtype,
    bytes,
    shape,
    read: (target) => slice(0, shape[0], target),
    readSlice: slice,
    holding: null,
    readBytes: (start, count) => new Uint8Array(slice(start, count).buffer),
    raw: (offset, count) => tensor.raw(offset, count),
  }
}
