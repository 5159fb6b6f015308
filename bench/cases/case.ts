import type { Executor } from '../../src/load-model.ts'
import type { CaseKind, Dispatch, LayerDims, RoutingKind, RoutingSpread } from '../schema.ts'
import type { Timed } from '../timing.ts'

/** What a case is, known before anything is made for it. */
export interface CaseFacts {
  /** Unique in the report, made of the case's parameters. */
  group: string
  kind: CaseKind
  routing: RoutingKind
  dims: LayerDims | null
  /** New tokens of one call, all sequences together. */
  tokens: number
  batch: number
  /** S: keys that a query meets; null without attention. A decode's is that of its middle step. */
  context: number | null
  /** Calls in one run: times, FLOPs and bytes are reported for one. */
  callsPerRun: number
  /** What the read at the end of each call takes. */
  readBy: 'whole' | 'sum'
}

/** Work that several variants do alike, ready to run. It owns tensors: `dispose()` when done. */
export interface Case extends CaseFacts {
  spread: RoutingSpread
  /** The most telling first: where time is short the later ones are left out. */
  variants: Variant[]
  /** Reads a finished result once more, to say what that costs. */
  read(): void
  dispose(): void
}

export interface Variant {
  dispatch: Dispatch
  executor: Executor
  /** FLOPs of one run by formula. */
  flops: number
  /** What dense FLOPs are of this variant's, in the part that dispatch changes (layer) or in all (model). */
  idealSpeedup: number
  /** Weight bytes that one call has to read. */
  weightBytes: number
  /** Bytes it holds beside what the case has already. */
  bytes: number
  /** Makes what it runs (a graph, a twin's weights), only when its turn has come and there is room. */
  open(): OpenVariant
}

export interface OpenVariant extends Timed {
  /** The same work without what an executor adds (a recorded model attends to its cache's spare room too), for counting. */
  plain?(): void
  /** Uncounted, before `plain`. */
  preparePlain?(): void
  dispose(): void
}
