import { createRequire } from 'node:module'

/**
 * tfjs-node 4.22.0 calls `util.isNullOrUndefined` and `util.isArray`, which Node removed (the first in Node 23), and
 * then fails at the first op (tensorflow/tfjs#8609). They are put back before it is loaded. Through `require`, since
 * the namespace that `import` gives cannot be changed.
 */
export function repairNodeUtil(): void {
  const util = createRequire(import.meta.url)('node:util')
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined
  util.isArray ??= Array.isArray
}
