import { writeSync } from 'node:fs'
import { startRuntime } from '../../src/device/index.ts'
import { RecordedExecutor } from '../../src/graph/executor.ts'
import { randomModel } from '../helpers/random.ts'

/** A program for sessions.test.ts: records and runs a graph, disposes nothing, and ends as its argument says. */
const [way] = process.argv.slice(2)
await startRuntime({ device: 'cpu' })
new RecordedExecutor(randomModel()).forward([1, 2, 3], {})
writeSync(1, 'ran\n')
if (way === 'exit') process.exit(3)
if (way === 'throw') throw new Error('ends here')
if (way.startsWith('SIG')) {
  process.kill(process.pid, way)
  setTimeout(() => {}, 60_000) // until the signal comes
}
