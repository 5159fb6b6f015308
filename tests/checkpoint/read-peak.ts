import { existsSync, readFileSync } from 'node:fs'
import { openSafetensors } from '../../src/checkpoint/disk.ts'

/**
 * Run as a program with `--expose-gc`: reads the tensors of the file given, first by slices, then whole, and prints how many
 * bytes of resident memory each took at its peak beyond what was there before.
 */
const { tensors } = openSafetensors(process.argv[2])

function riseOf(read: () => void): number {
  globalThis.gc!()
  const before = process.memoryUsage().rss
  read()
  return peak() - before
}

/** Bytes. On Linux `maxRSS` would count what the parent process had in memory when it started this one. */
function peak(): number {
  const status = '/proc/self/status'
  if (!existsSync(status)) return process.resourceUsage().maxRSS * 1024
  return Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync(status, 'utf8'))![1]) * 1024
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
