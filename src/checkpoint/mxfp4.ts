import type { Holding } from '../backend/holding.ts'
import { expectShape, joinRows, type Naming, tensorOfBlocks } from './blocks.ts'
import type { CheckpointTensor } from './safetensors.ts'
import type { Checkpoint } from './shards.ts'

/** What there is in the place of a tensor. */
const BLOCKS = '_blocks'
const SCALES = '_scales'

/** Magnitudes of four bits (OCP microscaling formats 1.0, e2m1); the fourth is the sign. */
const FP4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
/** Numbers that share a scale, a power of two. */
const BLOCK = 32
const HOLDING: Holding = { dtype: 'uint8', groups: { bits: 4, group: BLOCK, floats: true } }

/** Stacks of matrices of experts, [E, out, in / 32, 16] bytes with two numbers each, low half first (gpt-oss): [E, in, out]. */
export function mxfp4(checkpoint: Checkpoint): Naming {
  const values = Float32Array.from({ length: 16 }, (_, bits) => (bits < 8 ? FP4[bits] : -FP4[bits - 8]))
  const plain = (tensor: CheckpointTensor) => {
    const name = tensor.name.slice(0, -BLOCKS.length)
    const scales = checkpoint.get(`${name}${SCALES}`)
    const [E, out, blocks] = tensor.shape
    expectShape(tensor, [E, out, blocks, BLOCK / 2])
    expectShape(scales, [E, out, blocks])
    const width = blocks * BLOCK
    const read = (start: number, count: number) => ({
      halves: tensor.raw((start * out * width) / 2, (count * out * width) / 2),
      exponents: scales.raw(start * out * blocks, count * out * blocks),
    })
    return tensorOfBlocks(tensor, {
      name,
      shape: [E, width, out],
      scales,
      holding: HOLDING,
      in: width,
      isHeldTurned: true,
      readSlice(start, count, target) {
        const { halves, exponents } = read(start, count)
        for (let at = 0; at < count * out * width; at++) {
          const bits = (halves[at >> 1] >> (4 * (at & 1))) & 15
          const [row, column] = [Math.floor(at / width), at % width]
          const [expert, channel] = [Math.floor(row / out), row % out]
          target[(expert * width + column) * out + channel] =
            values[bits] * powerOf(exponents[Math.floor(at / BLOCK)])
        }
      },
      readRows(start, count, target) {
        const { halves, exponents } = read(start, count)
        joinRows(halves, exponents, count * out, target)
      },
    })
  }
  return {
    hidden: (name) => name.endsWith(SCALES) && checkpoint.has(`${name.slice(0, -SCALES.length)}${BLOCKS}`),
    plainName: (name) => (name.endsWith(BLOCKS) ? name.slice(0, -BLOCKS.length) : name),
    plain: (tensor) => (tensor.name.endsWith(BLOCKS) ? plain(tensor) : tensor),
  }
}

/** What a scale's eight bits (e8m0) say; all of them set are no number. */
function powerOf(bits: number): number {
  return bits === 255 ? Number.NaN : 2 ** (bits - 127)
}
