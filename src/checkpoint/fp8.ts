import type { Holding } from '../backend/holding.ts'
import { expectShape, type Naming, tensorOfBlocks } from './blocks.ts'
import type { CheckpointTensor } from './safetensors.ts'
import type { Checkpoint } from './shards.ts'

/** What scales are called, after the tensor. */
const SCALES = '_scale_inv'

/**
 * Float8 (e4m3) matrices with a scale a block of `block` rows and columns, which is multiplied with (DeepSeek-V3). Held, each row has
 * the scales of its blocks behind it.
 */
export function fp8(checkpoint: Checkpoint, [blockRows, blockColumns]: [number, number]): Naming {
  const values = e4m3Table()
  const holding: Holding = { dtype: 'uint8', groups: { bits: 8, group: blockColumns, floats: true } }
  const plain = (tensor: CheckpointTensor) => {
    const scales = checkpoint.get(`${tensor.name}${SCALES}`)
    const [rows, columns] = tensor.shape
    const across = Math.ceil(columns / blockColumns)
    expectShape(scales, [Math.ceil(rows / blockRows), across])
    /** Calls `take` with all rows that share their scales, and with the number of the first, from `start` on. */
    const eachBand = (
      start: number,
      count: number,
      take: (bytes: Uint8Array, scales: Float32Array, row: number) => void,
    ) => {
      for (let row = start; row < start + count; ) {
        const block = Math.floor(row / blockRows)
        const end = Math.min(start + count, (block + 1) * blockRows)
        take(tensor.raw(row * columns, (end - row) * columns), scales.readSlice(block, 1), row - start)
        row = end
      }
    }
    return tensorOfBlocks(tensor, {
      name: tensor.name,
      shape: tensor.shape,
      scales,
      holding,
      in: columns,
      readSlice: (start, count, target) =>
        eachBand(start, count, (bytes, factors, row) => {
          const band = target.subarray(row * columns)
          for (let at = 0; at < bytes.length; at++)
            band[at] = values[bytes[at]] * factors[Math.floor((at % columns) / blockColumns)]
        }),
      readRows: (start, count, target) =>
        eachBand(start, count, (bytes, factors, row) => {
          const ofScales = new Uint8Array(factors.buffer, factors.byteOffset, factors.byteLength)
          const ofRow = columns + ofScales.length
          for (let at = 0; at < bytes.length; at += columns, row++) {
            target.set(bytes.subarray(at, at + columns), row * ofRow)
            target.set(ofScales, row * ofRow + columns)
          }
        }),
    })
  }
  return {
    hidden: (name) => name.endsWith(SCALES) && checkpoint.has(name.slice(0, -SCALES.length)),
    plainName: (name) => name,
    plain: (tensor) => (tensor.dtype === 'F8_E4M3' ? plain(tensor) : tensor),
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
