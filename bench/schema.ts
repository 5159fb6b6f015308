import { z } from 'zod'
import { DTYPES } from '../src/backend/dtypes.ts'
import { FLOP_PARTS } from '../src/cost/flops.ts'
import { runtimeSchema } from '../src/device/report.ts'
import { MODEL_PARTS } from '../src/model/tensor-spec.ts'
import { DISPATCHES, EXECUTORS } from '../src/model/ways.ts'

/** Raised when a reader of the old form could misread the new one. Version 2 had the same weights at every call of a case. */
export const BENCH_VERSION = 3

/** How much is measured and for how long. */
export const PRESETS = ['quick', 'default', 'full', 'gpu', 'gpu-smoke'] as const
export type Preset = (typeof PRESETS)[number]

/** `width`: a decoded token of the model held in several widths. */
export const CASE_KINDS = ['prefill', 'decode', 'layer', 'width'] as const
export type CaseKind = (typeof CASE_KINDS)[number]

/**
 * How a case's tokens are spread over experts. `uniform`: every expert gets the same number (within one); `real`: as the
 * router has it, the model's own on text or the layer's random one; `worst`: all tokens go to the same K experts.
 */
export const ROUTINGS = ['uniform', 'real', 'worst'] as const
export type RoutingKind = (typeof ROUTINGS)[number]

/** A plain feed-forward in the mixture's place: of width K H (what one token uses), or E H (all that is stored). */
export const TWINS = ['twin-active', 'twin-total'] as const
export type Twin = (typeof TWINS)[number]

/** In the order in which they are shown. */
export const ALL_DISPATCHES = [...DISPATCHES, ...TWINS] as const
export type Dispatch = (typeof ALL_DISPATCHES)[number]

export function isTwin(dispatch: Dispatch): dispatch is Twin {
  return (TWINS as readonly string[]).includes(dispatch)
}

export const AXES = ['T', 'E', 'K', 'D', 'H', 'routing', 'batch', 'context', 'grid'] as const
export type Axis = (typeof AXES)[number]

export const PEERS = ['transformers-layer', 'transformers-model', 'llama.cpp'] as const
export type PeerName = (typeof PEERS)[number]

const count = z.int().min(0)
const time = z.number().min(0)
const measured = time.nullable()
const text = z.string()

/** Sizes of one mixture layer. */
const dims = z.object({
  D: count.describe('width of the layer'),
  H: count.describe('width of one expert'),
  E: count.describe('experts'),
  K: count.describe('experts a token'),
})

/** How evenly the routers of a case spread its tokens: assignments of an expert, over experts and layers. */
const spread = z.object({
  minTokens: z.number(),
  meanTokens: z.number(),
  maxTokens: z.number(),
  expertsTouched: z.array(count).describe('experts that got a token, one entry a mixture layer'),
})

/** One variant of a case, for one call. New fields go to the end: they are the columns of the CSV. */
const row = z.object({
  id: text.describe('made of the parameters alone: the same row has the same id in every report'),
  group: text.describe('rows of one group are variants of one case, timed in turn on the same inputs'),
  kind: z.enum(CASE_KINDS),
  dispatch: z.enum(ALL_DISPATCHES),
  executor: z.enum(EXECUTORS),
  routing: z.enum(ROUTINGS),
  dims: dims.nullable().describe('null for a whole model'),
  tokens: count.describe('new tokens of one call, all sequences together'),
  /** Sequences of one call; 1 for a layer, whose rows belong to none. */
  batch: count,
  /** A decode's is that of its middle step. */
  context: count.nullable().describe('keys that a query meets; null without attention'),
  flops: z.number().describe('of one call, by formula'),
  flopsCounted: z.number().nullable().describe('from the matrix products that ran in one call'),
  weightBytes: z.number().nullable().describe('that one call has to read'),
  spread: spread.nullable().describe('null for a twin, which has no router'),
  n: count,
  medianMs: measured,
  p10Ms: measured,
  p90Ms: measured,
  p99Ms: measured,
  /** They stay among the samples and in every number here; `method.outliers` has the rule. */
  outliers: count,
  tokensPerSecond: measured,
  gflopsPerSecond: measured,
  /** Of what the machine's matrix product reaches. */
  shareOfMatmul: measured,
  /** `weightBytes` by median time, by the machine's memory reading. Above 1: the weights came from a cache. */
  shareOfBandwidth: measured,
  speedup: measured.describe('median of dense by this median; dense of the same group and executor'),
  speedupLow: measured.describe('95 % interval'),
  speedupHigh: measured,
  /** Dense FLOPs by this row's: in the experts (layer) or in all (model). */
  idealSpeedup: z.number(),
  /** What the read at the end of each call copies: the whole result, or one sum that depends on all of it. */
  read: z.enum(['whole', 'sum']),
  /** Median time of that read alone; it is part of the times above. */
  readMs: measured,
  warmupRounds: count,
  warmupStable: z.boolean(),
  samplesMs: z.array(time).describe('every timed call, in order'),
  skipped: text.nullable().describe('why there are no times'),
  weightSets: count
    .default(1)
    .describe('sets of weights that calls take turns on; 1: the same at every call'),
  fromCache: z.boolean().default(false).describe('each call runs right behind another like it'),
  expertHitRate: z
    .number()
    .nullable()
    .default(null)
    .describe('share of needed experts that were in memory; null where all are'),
  held: text.nullable().default(null).describe('the width that weights are held in, of cases of several'),
  heldBytes: z.number().nullable().default(null).describe('of all weights in that width'),
  loss: z
    .number()
    .nullable()
    .default(null)
    .describe('of the model in that width, nats a token of held-out texts, mean over domains'),
  lossTokens: count.nullable().default(null).describe('tokens that were predicted for it'),
})

/** Sparse dispatch of one layer, op by op, with a read after each part. Medians. */
const breakdown = z.object({
  id: text,
  group: text.describe('the rows that the same layer and inputs have'),
  tokens: count,
  dims,
  /** Logits and the choice of experts. */
  routerMs: time,
  /** Sorting the assignments and cutting the rows into one piece an expert. */
  groupMs: time,
  /** The experts on their rows. */
  matmulMs: time,
  /** Back into the order of tokens, weighted and summed. */
  combineMs: time,
  /** Each part ends in a read of its own, so it may be more than `totalMs`. */
  sumMs: time,
  totalMs: time.describe('the same work in one go'),
  n: count,
})

/** One layer with room for `factor` times the fair share of tokens an expert; what is over is dropped. */
const capacity = z.object({
  id: text,
  tokens: count,
  dims,
  routing: z.enum(ROUTINGS),
  factor: z.number().nullable().describe('null: no limit'),
  /** Dropped assignments of all T K. */
  droppedShare: z.number(),
  flopsCounted: z.number(),
  n: count,
  medianMs: time,
  p10Ms: time,
  p90Ms: time,
})

/** Loading the model in processes of its own, so that nothing else is in their memory; files in the system's cache. */
const loading = z.object({
  medianMs: time,
  samplesMs: z.array(time),
  weightBytes: z.number(),
  /** Most memory the process held (VmHWM of /proc); null where the system does not tell. */
  peakBytes: z.number().nullable(),
  /** Memory held before loading, with Node and the device's library. */
  baseBytes: z.number().nullable(),
})

/** Median milliseconds of a decoded token with the trace option left out, false and true. */
const tracing = z.object({ absentMs: time, offMs: time, onMs: time, n: count })

/** A published implementation of the same work, timed in the same session. */
const peerRow = z.object({
  implementation: text,
  kind: z.enum(CASE_KINDS),
  tokens: count,
  batch: count,
  context: count.nullable(),
  n: count,
  medianMs: time,
  p10Ms: time,
  p90Ms: time,
  tokensPerSecond: z.number(),
  samplesMs: z.array(time),
})

const peerReport = z.object({
  library: text,
  /** What it ran: the layer's sizes, or the model's files. */
  what: text,
  versions: z.record(text, text),
  threads: count,
  rows: z.array(peerRow),
})

/** What came of a peer that was asked for. */
const peer = z.object({
  peer: z.enum(PEERS),
  report: peerReport.nullable(),
  problem: text.nullable().describe('why there is no report'),
})

const machine = z.object({
  matmulGflops: z.number(),
  memoryGbPerS: z.number(),
  matmulSize: count,
  vectorBytes: count,
})

/** What the machine did between two cases; the shares of a row are of the mean of the readings before and after its case. */
const reading = machine.extend({ after: text.describe('the case before it, empty at the start') })

const method = z.object({ outliers: text, interval: text, reading: text })

const conditions = z.object({
  runtime: runtimeSchema,
  preset: z.enum(PRESETS),
  dtype: z.enum(DTYPES).describe('what weights are multiplied in'),
  /** Whether float32 products may be computed with 10-bit mantissas (TensorFloat-32). */
  tf32: z.boolean().nullable(),
  executor: z.enum(EXECUTORS).describe('the rows that the conclusion is about'),
  machine: machine.describe('the median of all readings'),
  expertsOnDisk: count
    .nullable()
    .default(null)
    .describe("bytes of the model's experts that may be in memory; null: all are"),
  cacheBytes: count
    .nullable()
    .default(null)
    .describe('of the largest cache, which weights are rotated around'),
  /** Of the engine, with `-dirty` when files differ from it; null outside a checkout. */
  commit: text.nullable(),
  /** Busy threads on average in the minute before. */
  loadAverage: z.number().nullable(),
  governor: text.nullable(),
  /** What the preset allows, peers not included; null: as long as it takes. */
  secondsPlanned: z.number().nullable(),
  seed: count,
  method,
})

const parts = <Name extends string>(...names: Name[]) =>
  z.object(Object.fromEntries(names.map((name) => [name, z.number()])) as Record<Name, z.ZodNumber>)

const model = z.object({
  name: text,
  parameters: z.object({
    parts: parts(...MODEL_PARTS),
    total: z.number(),
    active: z.number().describe('what one token uses'),
    totalWithoutEmbeddings: z.number(),
    activeWithoutEmbeddings: z.number(),
  }),
  /** Of one token by part, sparse, behind the longest prompt measured. */
  flopsPerToken: parts(...FLOP_PARTS),
  weightBytesPerToken: z.number(),
  cacheBytesPerToken: z
    .object({ kept: z.number(), plain: z.number() })
    .nullable()
    .default(null)
    .describe('what a token leaves in the kv-cache, and what plain attention of the same heads would'),
  text: text.describe('where the tokens of prefill and decode come from'),
})

const layer = dims.extend({
  totalParameters: z.number(),
  activeParameters: z.number(),
  /** Where the sizes come from: flags, or a model and its scale. */
  source: text,
  /** What each kind of routing is here, in words. */
  routing: z.record(z.enum(ROUTINGS), text),
})

/** Groups along one axis, everything else as it is by default, in the axis's order. A group may be in several. */
const sweep = z.object({ kind: z.enum(CASE_KINDS), axis: z.enum(AXES), groups: z.array(text) })

/** What `--assert` asked and found. */
const assertion = z.object({ factor: z.number(), passed: z.boolean(), sentence: text })

/**
 * A stored report; `docs/bench.schema.json` is made from it. Fields that it does not know are let through, so that
 * a report of a later engine can still be read. Times in milliseconds; unknown is null.
 */
export const benchSchema = z
  .object({
    format: z.literal('tinymoe-bench'),
    version: z.union([z.literal(2), z.literal(BENCH_VERSION)]),
    date: text,
    interrupted: z.boolean(),
    seconds: time,
    conclusion: text,
    conditions,
    model,
    layer,
    rows: z.array(row),
    sweeps: z.array(sweep),
    breakdown: z.array(breakdown),
    capacity: z.array(capacity),
    loading: loading.nullable(),
    tracing: tracing.nullable(),
    peers: z.array(peer),
    assertion: assertion.nullable(),
    readings: z.array(reading).default([]),
  })
  .meta({ title: 'tinymoe bench report' })

export type LayerDims = z.infer<typeof dims>
export type RoutingSpread = z.infer<typeof spread>
export type Row = z.infer<typeof row>
export type Sweep = z.infer<typeof sweep>
export type Breakdown = z.infer<typeof breakdown>
export type CapacityRow = z.infer<typeof capacity>
export type Loading = z.infer<typeof loading>
export type TracingCost = z.infer<typeof tracing>
export type PeerRow = z.infer<typeof peerRow>
export type PeerReport = z.infer<typeof peerReport>
export type PeerOutcome = z.infer<typeof peer>
export type Conditions = z.infer<typeof conditions>
export type ModelFacts = z.infer<typeof model>
export type LayerFacts = z.infer<typeof layer>
export type Reading = z.infer<typeof reading>
export type Assertion = z.infer<typeof assertion>
export type BenchReport = z.infer<typeof benchSchema>

/** Names of a row's fields, in order. */
export const ROW_FIELDS = Object.keys(row.shape) as (keyof Row)[]
