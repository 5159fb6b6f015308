import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Taken where it cannot be read, and for a card: the largest of them has 126 MB. */
const UNKNOWN_BYTES = 2 ** 27

/** Bytes of the largest cache before memory, as Linux tells of the first processor. */
export function cacheBytes(onCard: boolean, folder = '/sys/devices/system/cpu/cpu0/cache'): number {
  if (onCard) return UNKNOWN_BYTES
  try {
    const sizes = readdirSync(folder)
      .filter((name) => name.startsWith('index'))
      .map((name) => /^(\d+)([KM])/.exec(readFileSync(join(folder, name, 'size'), 'utf8')))
      .map((found) => (found ? Number(found[1]) * (found[2] === 'M' ? 2 ** 20 : 2 ** 10) : 0))
    return Math.max(...sizes) || UNKNOWN_BYTES
  } catch {
    return UNKNOWN_BYTES
  }
}
