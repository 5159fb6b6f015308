import { DISPATCHES, type Executor } from '../../src/model/ways.ts'
import type { ExpertReads } from '../../src/model/weights.ts'
import {
  type CaseKind,
  type Dispatch,
  type LayerDims,
  type RoutingKind,
  type RoutingSpread,
  TWINS,
} from '../schema.ts'
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
  /** Each call runs right behind another like it. */
  fromCache: boolean
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
  /** Sets of weights that its calls take turns on; 1: the same at every call. */
  weightSets: number
  /** Makes what it runs (a graph, a twin's weights), only when its turn has come and there is room. */
  open(): OpenVariant
}

export interface OpenVariant extends Timed {
  /** The same work without what an executor adds (a recorded model attends to its cache's spare room too), for counting. */
  plain?(): void
  /** What became of experts that its runs needed; not there where all are in memory. */
  reads?: ExpertReads
  /** Uncounted, before `plain`. */
  preparePlain?(): void
  dispose(): void
}

/** What is known of a variant before anything is made for it. */
export type Described = Omit<Variant, 'open'>

/** A case of the plan. A new kind of case is a file that makes these, and an entry in the list of ../tasks.ts. */
export interface PlannedCase {
  facts: CaseFacts
  /** In words. */
  what: string
  /** That it would like. */
  seconds: number
  /** Of what the conclusion is about: a person may not wait for the end. */
  telling: boolean
  /** The variants, supposing that as many experts get a token as can. */
  describe(): Described[]
  /** Makes the case and has it measured; returns why there is no room for it, or null. */
  make(measure: (work: Case) => Promise<void>): Promise<string | null>
}

/** Up to this many assignments (T K) `gather` is measured too; it is for few tokens, and far beyond it only wastes time. */
export const GATHER_UP_TO = 64

/** How variants are chosen. */
export interface VariantChoice {
  /** The first is measured first, and by it also the twins. */
  executors: readonly Executor[]
  twins: boolean
}

/** Every dispatch that is worth it for so many assignments by every executor, then the twins. */
export function variantsFor(
  assignments: number,
  { executors, twins }: VariantChoice,
): [Dispatch, Executor][] {
  const dispatches = DISPATCHES.filter((name) => name !== 'gather' || assignments <= GATHER_UP_TO)
  return [
    ...executors.flatMap((executor) => dispatches.map((name): [Dispatch, Executor] => [name, executor])),
    ...(twins ? TWINS.map((twin): [Dispatch, Executor] => [twin, executors[0]]) : []),
  ]
}
