import { createRequire } from 'node:module'

/**
 * tfjs-node 4.22.0 calls `util.isNullOrUndefined` and `util.isArray`. Node announces both as deprecated on stderr (22 the
 * first), and 23 removed the first, so that tfjs-node failed at its first op (tensorflow/tfjs#8609). Both are replaced by
 * what they are, in every Node, before tfjs-node is loaded. Through `require`, since the namespace that `import` gives
 * cannot be changed.
 */
export function repairNodeUtil(): void {
  const util = createRequire(import.meta.url)('node:util')
  util.isNullOrUndefined = (value: unknown) => value === null || value === undefined
  util.isArray = Array.isArray
}
