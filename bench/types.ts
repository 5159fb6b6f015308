import type { FlopParts, ParameterCount } from '../src/cost/index.ts'
import type { MachineReadings, RuntimeReport } from '../src/device/index.ts'
import type { Executor } from '../src/load-model.ts'
import type { DispatchName } from '../src/model/dispatch/index.ts'
import type { Dims } from '../src/model/shapes.ts'

/** D, H, E, K of the synthetic layer. */
export type LayerDims = Pick<Dims, 'D' | 'H' | 'E' | 'K'>

export const PRESETS = ['quick', 'default', 'full', 'gpu'] as const
/** How much is measured and for how long. */
export type Preset = (typeof PRESETS)[number]

export const CASE_KINDS = ['prefill', 'decode', 'layer'] as const
export type CaseKind = (typeof CASE_KINDS)[number]

export const ROUTINGS = ['uniform', 'real', 'worst'] as const
/**
 * How a case's tokens are spread over experts. `uniform`: every expert gets the same number (within one); `real`: as the
 * router has it, the model's own on text or the layer's random one; `worst`: all tokens go to the same K experts.
 */
export type RoutingKind = (typeof ROUTINGS)[number]

export const TWINS = ['twin-active', 'twin-total'] as const
/** A plain feed-forward in the mixture's place: of width K H (what one token uses), or E H (all that is stored). */
export type Twin = (typeof TWINS)[number]
export type Dispatch = DispatchName | Twin

/** How evenly the routers of a case spread its tokens: assignments of an expert, over experts and layers. */
export interface RoutingSpread {
  minTokens: number
  meanTokens: number
  maxTokens: number
  /** Experts that got a token, one entry a mixture layer. */
  expertsTouched: number[]
}

/** One line of the report, for one call. Unknown is null. */
export interface Row {
  /** Made of the row's parameters alone, so that the same row has the same id in every report. */
  id: string
  /** Rows of one group are variants of one case: timed in turn, on the same inputs. */
  group: string
  kind: CaseKind
  dispatch: Dispatch
  executor: Executor
  routing: RoutingKind
  /** Of the layer; null for a whole model. */
  dims: LayerDims | null
  /** New tokens of one call, all sequences together. */
  tokens: number
  /** Sequences of one call; 1 for a layer, whose rows belong to none. */
  batch: number
  /** S: keys that a query meets; null without attention. A decode's is that of its middle step. */
  context: number | null
  /** By formula. */
  flops: number
  /** From the matrix products that ran in one call. */
  flopsCounted: number | null
  weightBytes: number
  /** Null for a twin, which has no router. */
  spread: RoutingSpread | null
  n: number
  medianMs: number | null
  p10Ms: number | null
  p90Ms: number | null
  p99Ms: number | null
  /** Samples beyond the rule of `Conditions.method.outliers`. They stay among the samples and in every number here. */
  outliers: number
  /** New tokens by median time. */
  tokensPerSecond: number | null
  /** Counted FLOPs by median time. */
  gflopsPerSecond: number | null
  /** `gflopsPerSecond` by what the machine's matrix product reaches. */
  shareOfMatmul: number | null
  /** `weightBytes` by median time, by the machine's memory reading. Above 1: the weights came from a cache. */
  shareOfBandwidth: number | null
  /** Dense median by this median; dense of the same group and executor. */
  speedup: number | null
  /** 95 % bootstrap interval of `speedup`; see `Conditions.method.interval`. */
  speedupLow: number | null
  speedupHigh: number | null
  /** Dense FLOPs by this row's: in the experts (layer) or in all (model). */
  idealSpeedup: number
  /** What the read at the end of each call copies: the whole result, or one sum that depends on all of it. */
  read: 'whole' | 'sum'
  /** Median time of that read alone; it is part of the times above. */
  readMs: number | null
  warmupRounds: number
  warmupStable: boolean
  /** Every timed call, in order. */
  samplesMs: number[]
  /** Why there are no times, or null. */
  skipped: string | null
}

export const AXES = ['T', 'E', 'K', 'D', 'H', 'routing', 'batch', 'context', 'grid'] as const
/** Groups along one axis, everything else as it is by default, in the axis's order. A group may be in several. */
export interface Sweep {
  kind: CaseKind
  axis: (typeof AXES)[number]
  groups: string[]
}

/** Sparse dispatch of one layer, op by op, with a read after each part: where its time goes. Medians. */
export interface Breakdown {
  id: string
  /** The rows that the same layer and inputs have in the table. */
  group: string
  tokens: number
  dims: LayerDims
  /** Logits and the choice of experts. */
  routerMs: number
  /** Sorting the assignments and cutting the rows into one piece an expert. */
  groupMs: number
  /** The experts on their rows. */
  matmulMs: number
  /** Back into the order of tokens, weighted and summed. */
  combineMs: number
  /** The four parts together; each ends in a read of its own, so it may be more than `totalMs`. */
  sumMs: number
  /** The same work in one go, timed in turn with the parts. */
  totalMs: number
  n: number
}

/** One layer with room for `factor` times the fair share of tokens an expert; what is over is dropped. */
export interface CapacityRow {
  id: string
  tokens: number
  dims: LayerDims
  routing: RoutingKind
  /** Null: no limit. */
  factor: number | null
  /** Dropped assignments of all T K. */
  droppedShare: number
  flopsCounted: number
  n: number
  medianMs: number
  p10Ms: number
  p90Ms: number
}

/** Loading the model in a process of its own, so that nothing else is in its memory. */
export interface Loading {
  /** From `loadModel` to its return, files in the system's cache. */
  medianMs: number
  samplesMs: number[]
  /** Size of the weights as the device holds them. */
  weightBytes: number
  /** Most memory the process held (VmHWM of /proc); null where the system does not tell. */
  peakBytes: number | null
  /** Memory held before loading, with Node and the device's library; null as above. */
  baseBytes: number | null
}

export const PEERS = ['transformers-layer', 'transformers-model', 'llama.cpp'] as const
export type PeerName = (typeof PEERS)[number]

/** A published implementation of the same work, timed in the same session. */
export interface PeerRow {
  implementation: string
  kind: CaseKind
  /** As in `Row`. */
  tokens: number
  batch: number
  context: number | null
  n: number
  medianMs: number
  p10Ms: number
  p90Ms: number
  tokensPerSecond: number
  samplesMs: number[]
}

export interface PeerReport {
  library: string
  /** What it ran: the layer's sizes, or the model's files. */
  what: string
  /** Versions of what ran, by name. */
  versions: Record<string, string>
  threads: number
  rows: PeerRow[]
}

/** What came of a peer that was asked for: its report, or a sentence that says why there is none. */
export interface PeerOutcome {
  peer: PeerName
  report: PeerReport | null
  problem: string | null
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
  /** FLOPs of one token by part, sparse, behind the longest prompt measured. */
  flopsPerToken: FlopParts
  weightBytesPerToken: number
  /** Where the tokens of prefill and decode come from. */
  text: string
}

export interface LayerFacts extends LayerDims {
  totalParameters: number
  activeParameters: number
  /** Where the sizes come from: flags, or a model and its scale. */
  source: string
  /** What each kind of routing is here, in words. */
  routing: Record<RoutingKind, string>
}

/** How numbers were made, in words that can be printed beside them. */
export interface Method {
  /** When a sample counts as an outlier. */
  outliers: string
  /** How the interval of a ratio is made. */
  interval: string
  /** How the end of a call is known. */
  reading: string
}

export interface Conditions {
  runtime: RuntimeReport
  preset: Preset
  dtype: 'float32'
  /** Whether float32 products may be computed with 10-bit mantissas (TensorFloat-32); null where that is not known. */
  tf32: boolean | null
  /** How `loadModel` runs the model here: the rows that the conclusion is about. */
  executor: Executor
  machine: MachineReadings
  /** Git commit of the engine, with `-dirty` when files differ from it; null outside a checkout. */
  commit: string | null
  /** Average number of busy threads in the minute before; null where the system does not tell. */
  loadAverage: number | null
  /** Linux's frequency governor of the first processor; null where there is none to be seen. */
  governor: string | null
  /** What the preset allows, peers not included; null: as long as it takes. */
  secondsPlanned: number | null
  seed: number
  method: Method
}

/** What `--assert` asked and found. */
export interface Assertion {
  factor: number
  passed: boolean
  sentence: string
}

export interface BenchReport {
  format: 'tinymoe-bench'
  version: 2
  date: string
  interrupted: boolean
  seconds: number
  conclusion: string
  conditions: Conditions
  model: ModelFacts
  layer: LayerFacts
  rows: Row[]
  sweeps: Sweep[]
  breakdown: Breakdown[]
  capacity: CapacityRow[]
  /** Null when interrupted before it, or when the process could not run. */
  loading: Loading | null
  /** What handing out a trace costs; null when interrupted before it was measured. */
  tracing: TracingCost | null
  /** Of those asked for. */
  peers: PeerOutcome[]
  assertion: Assertion | null
}
