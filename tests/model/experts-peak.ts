import { startRuntime } from '../../src/device/index.ts'
import { loadModel } from '../../src/load-model.ts'
import type { Executor } from '../../src/model/ways.ts'
import { peakBytes } from '../helpers/peak.ts'

/**
 * Run as a program: loads the model of a directory with room for so many bytes of experts, runs a prompt and some tokens, and prints
 * how many bytes of resident memory that took at its peak beyond what was there with the device started.
 */
const [dir, budget, executor] = process.argv.slice(2)

await startRuntime({ device: 'cpu' })
const before = process.memoryUsage().rss
const model = await loadModel(dir, {
  device: 'cpu',
  executor: executor as Executor,
  expertsOnDisk: Number(budget),
})
const tokens = Array.from({ length: 48 }, (_, i) => i)
await model.generate({ tokens, maxTokens: 20, ignoreEos: true }).done
console.log(JSON.stringify({ rise: peakBytes() - before, reads: model.expertReads }))
