import { createRequire } from 'node:module'

/**
 * tfjs-node 4.22.0 calls `util.isNullOrUndefined`, which Node 23 removed, and then fails at the first op
 * (tensorflow/tfjs#8609); and `util.isArray`, which newer Nodes announce as deprecated on stderr. The first is put back,
 * the second replaced by what it is, before tfjs-node is loaded. Through `require`, since the namespace that `import`
 * gives cannot be changed.
 */
export function repairNodeUtil(): void {
  const util = createRequire(import.meta.url)('node:util')
  util.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined
  util.isArray = Array.isArray
}
