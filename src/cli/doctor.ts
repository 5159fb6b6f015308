import type { Command } from 'commander'
import { cacheRoot } from '../device/cache.ts'
import { type MachineReadings, measureMachine, type RuntimeReport, startRuntime } from '../device/index.ts'
import { CARD_TRIALS } from '../device/release.ts'
import { allOptions } from '../script/flags.ts'
import { table } from '../text/columns.ts'

export function register(program: Command): void {
  program.command('doctor').action(async (_flags, command: Command) => {
    const { device, debug, json } = allOptions(command)
    const { report } = await startRuntime({ device, debug })
    const readings = await measureMachine()
    const cacheFolder = cacheRoot()
    if (json) console.log(JSON.stringify({ ...report, readings, cacheFolder, cardTrials: CARD_TRIALS }))
    else console.log(formatReport(report, readings, cacheFolder))
  })
}

function formatReport(report: RuntimeReport, readings: MachineReadings, cacheFolder: string): string {
  const devices = report.candidates.map(({ device, taken, reason }) => [
    device,
    taken ? 'taken' : '-',
    reason,
  ])
  const { matmulSize: n, vectorBytes } = readings
  const facts = [
    ['device name', report.deviceName ?? 'unknown'],
    [
      'device memory',
      report.memoryBytes === null ? 'unknown' : `${(report.memoryBytes / 2 ** 30).toFixed(1)} GiB`,
    ],
    ...(report.device === 'cuda'
      ? [
          ['driver', report.driver ?? 'unknown'],
          ['compute capability', report.computeCapability ?? 'unknown'],
        ]
      : []),
    ['matrix product', `${readings.matmulGflops.toFixed(1)} GFLOP/s (${n} x ${n} x ${n}, float32)`],
    [
      'memory reading',
      `${readings.memoryGbPerS.toFixed(1)} GB/s (sum of ${Math.round(vectorBytes / 1e6)} MB)`,
    ],
    ['threads', `${report.threads} (${report.threadsReason})`],
    ['processor', report.cpuModel ?? 'unknown'],
    ['features', report.cpuFeatures.join(' ') || 'unknown'],
    ['TensorFlow', report.tensorflowVersion ?? 'not used'],
    ['TensorFlow.js', `${report.tfjsVersion}, backend ${report.backend}`],
    ['Node', `${report.nodeVersion} on ${report.platform}`],
    ['cache', cacheFolder],
    [
      'run on a card',
      `${CARD_TRIALS.ranOn.join(', ') || 'nothing yet'}; checked without: ${CARD_TRIALS.checkedWithout}`,
    ],
  ]
  const left = [0, 1, 2] // all of both tables
  return `${table(devices, left)}\n${table(facts, left)}`.trimEnd()
}
