import { readFileSync } from 'node:fs'
import { startRuntime } from '../../src/device/index.ts'
import type { Device } from '../../src/device/types.ts'
import { loadModel } from '../../src/load-model.ts'

/*
 * Loads a model and prints as JSON how long it took and how much memory the process held: `load-once DIRECTORY DEVICE`.
 * A process of its own, run by loading.ts, since a process that has done other work has its memory already.
 */

/** A line of /proc/self/status in bytes; null where there is no such file. */
function memory(name: 'VmRSS' | 'VmHWM'): number | null {
  try {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(
      readFileSync('/proc/self/status', 'utf8'),
    )
    return kibibytes ? Number(kibibytes[1]) * 1024 : null
  } catch {
    return null
  }
}

const [dir, device] = process.argv.slice(2)
await startRuntime({ device })
const baseBytes = memory('VmRSS')
const start = performance.now()
const model = await loadModel(dir, { device: device as Device })
const ms = performance.now() - start
const peakBytes = memory('VmHWM')
model.dispose()
process.stdout.write(`${JSON.stringify({ ms, baseBytes, peakBytes })}\n`)
