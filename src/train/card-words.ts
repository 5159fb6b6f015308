import type { RuntimeReport } from '../device/report.ts'

/* Words and numbers as a model card has them. */

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}

export function duration(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(0)} seconds`
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} minutes` : `${(seconds / 3600).toFixed(1)} hours`
}

/** A device as cards name it, such as `cpu (AMD EPYC, 1 thread)`. */
export function deviceLine({ device, deviceName, threads }: RuntimeReport): string {
  const name = deviceName === null ? '' : `${deviceName}, `
  return `${device} (${name}${threads} ${threads === 1 ? 'thread' : 'threads'})`
}
