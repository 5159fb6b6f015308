import { join, resolve } from 'node:path'
import envPaths from 'env-paths'
import { TENSORFLOW, type Variant } from './release.ts'

/** Per user, shared by every checkout: `TINYMOE_CACHE`, or the system's cache folder. */
export function cacheRoot(env: Record<string, string | undefined> = process.env): string {
  return env.TINYMOE_CACHE ? resolve(env.TINYMOE_CACHE) : envPaths('tinymoe', { suffix: '' }).cache
}

/**
 * One variant's folder. Inside it is laid out as Python's site-packages is (`tensorflow/`, `nvidia/<name>/lib`), since
 * the libraries find each other by that layout.
 */
export function variantFolder(root: string, variant: Variant): string {
  return join(root, `tensorflow-${TENSORFLOW.version}-${variant}`)
}
