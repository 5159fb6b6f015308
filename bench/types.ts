import type { FlopParts, ParameterCount } from '../src/cost/index.ts'
import type { Executor } from '../src/load-model.ts'
import type { DispatchName } from '../src/model/dispatch/index.ts'
import type { Dims } from '../src/model/shapes.ts'
import type { MachineReadings, RuntimeReport } from '../src/runtime/index.ts'
import type { Timed } from './timing.ts'

/** D, H, E, K of the synthetic layer. */
export type LayerDims = Pick<Dims, 'D' | 'H' | 'E' | 'K'>

export interface BenchOptions {
  device?: string
  debug?: boolean
  /** A checkpoint directory. */
  model: string
  /** How the model's forward runs; default: as `loadModel` does. */
  executor?: Executor
  /** T of each case of the layer sweep. */
  tokens: number[]
  layer: LayerDims
  /** Under half a minute in all: fewer samples, so wider noise. */
  quick: boolean
  /** Python with torch and transformers that times the same layer, or null for no peers. */
  python: string | null
}

export const CASE_KINDS = ['prefill', 'decode', 'layer'] as const
export type CaseKind = (typeof CASE_KINDS)[number]

/** How evenly the routers of a case spread its tokens: assignments of an expert, over experts and layers. */
export interface RoutingSpread {
  minTokens: number
  meanTokens: number
  maxTokens: number
  /** Experts that got a token, one entry a mixture layer. */
  expertsTouched: number[]
}

/** Work that several dispatches do alike, ready to run. It owns tensors: `dispose()` when done. */
export interface Case {
  kind: CaseKind
  /** T of one call. */
  tokens: number
  /** S: keys that a query meets; null without attention. A decode's is that of its middle step. */
  context: number | null
  /** Calls in one run: times, FLOPs and bytes are reported for one. */
  callsPerRun: number
  spread: RoutingSpread
  variants: Variant[]
  /** Copies a finished result to the host once more: what the read at the end of each call costs. */
  read(): void
  dispose(): void
}

export interface Variant extends Timed {
  dispatch: DispatchName
  /** The same work op by op, for counting, where `run` replays a graph that does not show its products. */
  eager?: () => void
  /** FLOPs of one run by formula. */
  flops: number
  /** What dense FLOPs are of this variant's, in the part that dispatch changes (layer) or in all (model). */
  idealSpeedup: number
  /** Weight bytes that one call has to read. */
  weightBytes: number
}

/** One line of the report, for one call. Unknown is null. */
export interface Row {
  kind: CaseKind
  dispatch: DispatchName
  tokens: number
  context: number | null
  /** By formula. */
  flops: number
  /** From the matrix products that ran in one call. */
  flopsCounted: number | null
  weightBytes: number
  spread: RoutingSpread
  n: number
  medianMs: number | null
  p10Ms: number | null
  p90Ms: number | null
  /** Counted FLOPs by median time. */
  gflopsPerSecond: number | null
  /** Dense median by this median. */
  speedup: number | null
  idealSpeedup: number
  /** Median time of the read at the end of each call; it is part of the times above. */
  readMs: number | null
  warmupRounds: number
  warmupStable: boolean
  /** Every timed call, in order. */
  samplesMs: number[]
  /** Why there are no times, or null. */
  skipped: string | null
}

/** A published implementation of the same layer, timed in the same session. */
export interface PeerRow {
  implementation: string
  tokens: number
  n: number
  medianMs: number
  p10Ms: number
  p90Ms: number
}

export interface PeerReport {
  library: string
  /** Versions of what ran, by name. */
  versions: Record<string, string>
  threads: number
  rows: PeerRow[]
}

/** Median milliseconds of a decoded token with the trace option left out, false and true; `n` samples each. */
export interface TracingCost {
  absentMs: number
  offMs: number
  onMs: number
  n: number
}

export interface ModelFacts {
  /** Last part of the directory's path. */
  name: string
  parameters: ParameterCount
  /** FLOPs of one token by part, sparse, at the decode case's context. */
  flopsPerToken: FlopParts
  weightBytesPerToken: number
  /** Where the tokens of prefill and decode come from. */
  text: string
}

export interface LayerFacts extends LayerDims {
  totalParameters: number
  activeParameters: number
}

export interface Conditions {
  runtime: RuntimeReport
  dtype: 'float32'
  /** How the model's forward ran; the layer sweep is always op by op. */
  executor: Executor
  machine: MachineReadings
  /** Git commit of the engine, with `-dirty` when files differ from it; null outside a checkout. */
  commit: string | null
  /** Average number of busy threads in the minute before; null where the system does not tell. */
  loadAverage: number | null
  quick: boolean
  budgetMsPerCase: number
  seed: number
}

export interface BenchReport {
  format: 'tinymoe-bench'
  version: 1
  date: string
  interrupted: boolean
  seconds: number
  conclusion: string
  conditions: Conditions
  model: ModelFacts
  layer: LayerFacts
  rows: Row[]
  /** What handing out a trace costs; null when interrupted before it was measured. */
  tracing: TracingCost | null
  /** Null when not asked for; `problem` says in a sentence why there is nothing. */
  peers: { report: PeerReport | null; problem: string | null } | null
}
