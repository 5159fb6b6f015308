import { openSafetensors } from '../../src/checkpoint/safetensors.ts'

/**
 * Run as a program with `--expose-gc`: reads the tensors of the file given, first by slices, then whole, and prints by how
 * many bytes each rose above the peak of resident memory before it.
 */
const peak = () => process.resourceUsage().maxRSS * 1024
const { tensors } = openSafetensors(process.argv[2])

function riseOf(read: () => void): number {
  globalThis.gc!()
  const before = peak()
  read()
  return peak() - before
}

const slices = riseOf(() => {
  for (const tensor of tensors) {
    for (let row = 0; row < tensor.shape[0]; row++) tensor.readSlice(row, 1)
    globalThis.gc!()
  }
})
const rise = riseOf(() => {
  for (const tensor of tensors) {
    tensor.read()
    globalThis.gc!()
  }
})
console.log(JSON.stringify({ rise, slices }))
