/** `import 'tinymoe/vitest'`: matchers for traces, and traces in snapshots as heat maps. docs/testing.md shows them at work. */

import { expect } from 'vitest'
import type { TraceMatchers } from './matchers.ts'
import * as matchers from './matchers.ts'
import { traceSerializer } from './serializer.ts'

export type { TraceMatchers } from './matchers.ts'
export { matchers, traceSerializer }

expect.extend(matchers)
expect.addSnapshotSerializer(traceSerializer)

declare module 'vitest' {
  // biome-ignore lint/suspicious/noExplicitAny: the parameter of vitest's own interface, which a merged one must repeat
  interface Matchers<T = any> extends TraceMatchers {}
}
