import { existsSync, readFileSync } from 'node:fs'

/** The most bytes of memory that this process had so far. On Linux `maxRSS` would count what its parent had when it started this one. */
export function peakBytes(): number {
  const status = '/proc/self/status'
  if (!existsSync(status)) return process.resourceUsage().maxRSS * 1024
  return Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync(status, 'utf8'))![1]) * 1024
}
