import type { BenchReport, Loading, PeerReport } from '../schema.ts'

/** What the numbers hold for, a line each. Unknown is said to be unknown. */
export function conditionLines(report: BenchReport): string[] {
  const { conditions, layer, date, seconds, loading, tracing, peers } = report
  const { runtime, machine, preset, secondsPlanned } = conditions
  const tf32 = conditions.tf32 === null ? 'unknown' : conditions.tf32 ? 'allowed' : 'not used'
  const planned =
    secondsPlanned === null ? 'as long as it takes' : `${secondsPlanned} s planned without peers`
  return [
    `device: ${runtime.device}, ${known(runtime.deviceName)} (${runtime.reason}); backend ${runtime.backend}, ${runtime.threads} threads, ${runtime.platform}`,
    `versions: TensorFlow ${runtime.tensorflowVersion ?? 'not used'}, tfjs ${runtime.tfjsVersion}, Node ${runtime.nodeVersion}; driver ${runtime.driver ?? 'none'}`,
    `machine: ${machine.matmulGflops.toFixed(1)} GFLOP/s in a ${machine.matmulSize}-square matrix product, ${machine.memoryGbPerS.toFixed(1)} GB/s read from memory; load average before ${known(conditions.loadAverage)}, frequency governor ${known(conditions.governor)}`,
    `weights and arithmetic ${conditions.dtype}, TensorFloat-32 ${tf32}; ${onDiskWords(conditions)}sizes of the layer: ${layer.source}; seed ${conditions.seed}; commit ${known(conditions.commit)}`,
    `${date}, preset ${preset}, ${seconds.toFixed(0)} s in all (${planned})${preset === 'quick' ? '; expect noise' : ''}`,
    ...(loading ? [loadingLine(loading)] : []),
    ...(tracing
      ? [
          `tracing, ms a decoded token: ${tracing.absentMs.toFixed(2)} not asked for, ${tracing.offMs.toFixed(2)} off, ${tracing.onMs.toFixed(2)} on (medians of ${tracing.n})`,
        ]
      : []),
    ...peers.flatMap(({ report: peer }) => (peer ? [peerLine(peer)] : [])),
  ]
}

function onDiskWords({ expertsOnDisk }: BenchReport['conditions']): string {
  return expertsOnDisk === null ? '' : `experts on disk, ${megabytes(expertsOnDisk)} MB of them in memory; `
}

/** How the numbers were made, a line each. */
export function methodLines({ rows, conditions: { method } }: BenchReport): string[] {
  const reads = rows.flatMap(({ readMs }) => readMs ?? [])
  const samples = rows.reduce((sum, { n }) => sum + n, 0)
  const outliers = rows.reduce((sum, row) => sum + row.outliers, 0)
  const spent = `${Math.min(...reads).toFixed(3)} to ${Math.max(...reads).toFixed(3)} ms`
  return [
    `"95 %" is of the speed-up: ${method.interval}`,
    ...(reads.length > 0 ? [`${method.reading}; that takes ${spent}, included`] : []),
    ...(samples > 0 ? [`${outliers} of ${samples} samples are outliers: ${method.outliers}`] : []),
  ]
}

function loadingLine({ medianMs, samplesMs, weightBytes, peakBytes, baseBytes }: Loading): string {
  const held =
    peakBytes === null || baseBytes === null
      ? 'memory unknown'
      : `at most ${megabytes(peakBytes)} MB held, ${megabytes(baseBytes)} MB of it before loading`
  return `loading the model: ${medianMs.toFixed(0)} ms (median of ${samplesMs.length}, each in a new process), ${megabytes(weightBytes)} MB of weights; ${held}`
}

function peerLine({ library, what, versions, threads }: PeerReport): string {
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `peer ${library}: ${what}; ${named.join(', ')}, ${threads} threads`
}

function known(value: string | number | null): string | number {
  return value ?? 'unknown'
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toPrecision(3)
}
