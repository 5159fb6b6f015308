import { openSafetensors } from '../../src/checkpoint/disk.ts'
import { peakBytes } from '../helpers/peak.ts'

/**
 * Run as a program with `--expose-gc`: reads the tensors of the file given, first by slices, then whole, and prints how many
 * bytes of resident memory each took at its peak beyond what was there before.
 */
const { tensors } = openSafetensors(process.argv[2])

function riseOf(read: () => void): number {
  globalThis.gc!()
  const before = process.memoryUsage().rss
  read()
  return peakBytes() - before
}

const slices = riseOf(() => {
  for (const tensor of tensors) {
    for (let row = 0; row < tensor.shape[0]; row++) {
      tensor.readSlice(row, 1)
      globalThis.gc!()
    }
  }
})
const rise = riseOf(() => {
  for (const tensor of tensors) {
    tensor.read()
    globalThis.gc!()
  }
})
console.log(JSON.stringify({ rise, slices }))
