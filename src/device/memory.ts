import { freemem, platform, totalmem } from 'node:os'
import * as tf from '@tensorflow/tfjs-core'
import type { RuntimeReport } from './report.ts'

/** Work takes at most this share of what is free, or the machine would swap, or end the process. */
const SHARE = 0.8

/** Bytes that tensors may take now; null where nobody tells. */
export type MemoryLimit = () => number | null

/** Of the card, its memory as nvidia-smi lists it less what tensors hold; elsewhere what the system has free then. */
export function memoryLimit(
  { device, memoryBytes }: Pick<RuntimeReport, 'device' | 'memoryBytes'>,
  free = availableMemory,
  held = () => tf.memory().numBytes,
): MemoryLimit {
  if (device === 'cuda') return () => (memoryBytes === null ? null : SHARE * memoryBytes - held())
  return () => SHARE * free()
}

/**
 * Bytes that this process can still have: what Linux and Windows call available (files kept in memory count as free), less
 * where its container allows less. macOS counts as used what it would give back, so there it is the machine's memory.
 */
export function availableMemory(): number {
  const free = platform() === 'darwin' ? totalmem() : freemem()
  const allowed = process.constrainedMemory() // 0 or absurdly much where nothing limits it
  return allowed > 0 ? Math.min(free, Math.max(0, allowed - process.memoryUsage.rss())) : free
}

/** Why `bytes` do not fit, or null when they do or nobody knows. */
export function memoryProblem(bytes: number, limit: MemoryLimit): string | null {
  const allowed = limit()
  if (allowed === null || bytes <= allowed) return null
  return `needs about ${gigabytes(bytes)} GB of memory, and ${gigabytes(allowed)} GB may be used`
}

/** Three digits, such as 0.0123, 65.0 or 378,000,000. */
export function gigabytes(bytes: number): string {
  const value = bytes / 1e9
  return value < 1000 ? value.toPrecision(3) : value.toLocaleString('en', { maximumSignificantDigits: 3 })
}
