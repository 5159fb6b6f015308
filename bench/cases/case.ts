import type { Width } from '../../src/cost/widths.ts'
import { DISPATCHES, type Executor } from '../../src/model/ways.ts'
import type { ExpertReads } from '../../src/model/weights.ts'
import { type Dispatch, type RoutingSpread, type Row, TWINS } from '../schema.ts'
import type { Timed } from '../timing.ts'

/** What a case is, known before anything is made for it: as its rows say it, whose schema explains each. */
export interface CaseFacts
  extends Pick<Row, 'group' | 'kind' | 'routing' | 'dims' | 'tokens' | 'batch' | 'context' | 'fromCache'> {
  /** Calls in one run: times, FLOPs and bytes are reported for one. */
  callsPerRun: number
  readBy: Row['read']
}

/** Work that several variants do alike, ready to run. It owns tensors: `dispose()` when done. */
export interface Case extends CaseFacts {
  spread: RoutingSpread
  /** The most telling first: where time is short the later ones are left out. */
  variants: Variant[]
  /** What of the case is not to be had here, and why. */
  missing?: { variant: Described; why: string }[]
  /** Of making it, what its share of the time is not for. */
  preparedMs?: number
  /** Reads a finished result once more, to say what that costs. */
  read(): void
  dispose(): void
}

/** What is known of a variant before anything is made for it. */
export interface Described
  extends Pick<Row, 'dispatch' | 'executor' | 'idealSpeedup' | 'weightBytes' | 'weightSets'> {
  /** FLOPs of one run by formula. */
  flops: number
  /** Bytes it holds beside what the case has already. */
  bytes: number
  /** Where the case's variants are held in several widths. */
  held?: Pick<Row, 'heldBytes' | 'loss' | 'lossTokens'> & { held: string; width: Width }
}

export interface Variant extends Described {
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
  /** Makes the case, in at most about so long, and has it measured; returns why it is not to be had, or null. */
  make(measure: (work: Case) => Promise<void>, mostMs: number): Promise<string | null>
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
