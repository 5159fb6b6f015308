import { z } from 'zod'
import { DEVICES } from '../src/device/types.ts'
import { EXECUTORS } from '../src/load-model.ts'
import { DISPATCHES } from '../src/model/dispatch/index.ts'
import { AXES, CASE_KINDS, PEERS, PRESETS, ROUTINGS, TWINS } from './types.ts'

/** Raised when a reader of the old form could misread the new one. */
export const BENCH_VERSION = 2

const count = z.int().min(0)
const time = z.number().min(0)
const measured = time.nullable()
const text = z.string()

const dims = z.object({
  D: count.describe('width of the layer'),
  H: count.describe('width of one expert'),
  E: count.describe('experts'),
  K: count.describe('experts a token'),
})

const spread = z.object({
  minTokens: z.number(),
  meanTokens: z.number(),
  maxTokens: z.number(),
  expertsTouched: z.array(count).describe('experts that got a token, one entry a mixture layer'),
})

const row = z.object({
  id: text.describe('made of the parameters alone: the same row has the same id in every report'),
  group: text.describe('rows of one group are variants of one case, timed in turn on the same inputs'),
  kind: z.enum(CASE_KINDS),
  dispatch: z.enum([...DISPATCHES, ...TWINS]),
  executor: z.enum(EXECUTORS),
  routing: z.enum(ROUTINGS),
  dims: dims.nullable().describe('null for a whole model'),
  tokens: count.describe('new tokens of one call, all sequences together'),
  batch: count,
  context: count.nullable().describe('keys that a query meets; null without attention'),
  flops: z.number().describe('of one call, by formula'),
  flopsCounted: z.number().nullable().describe('from the matrix products that ran in one call'),
  weightBytes: z.number().describe('that one call has to read'),
  spread: spread.nullable().describe('null for a twin, which has no router'),
  n: count,
  medianMs: measured,
  p10Ms: measured,
  p90Ms: measured,
  p99Ms: measured,
  outliers: count,
  tokensPerSecond: measured,
  gflopsPerSecond: measured,
  shareOfMatmul: measured,
  shareOfBandwidth: measured,
  speedup: measured.describe('median of dense by this median; dense of the same group and executor'),
  speedupLow: measured.describe('95 % interval'),
  speedupHigh: measured,
  idealSpeedup: z.number(),
  read: z.enum(['whole', 'sum']),
  readMs: measured,
  warmupRounds: count,
  warmupStable: z.boolean(),
  samplesMs: z.array(time).describe('every timed call, in order'),
  skipped: text.nullable().describe('why there are no times'),
})

const breakdown = z.object({
  id: text,
  group: text.describe('the rows that the same layer and inputs have'),
  tokens: count,
  dims,
  routerMs: time,
  groupMs: time,
  matmulMs: time,
  combineMs: time,
  sumMs: time,
  totalMs: time.describe('the same work in one go'),
  n: count,
})

const capacity = z.object({
  id: text,
  tokens: count,
  dims,
  routing: z.enum(ROUTINGS),
  factor: z.number().nullable().describe('null: no limit'),
  droppedShare: z.number(),
  flopsCounted: z.number(),
  n: count,
  medianMs: time,
  p10Ms: time,
  p90Ms: time,
})

const loading = z.object({
  medianMs: time,
  samplesMs: z.array(time),
  weightBytes: z.number(),
  peakBytes: z.number().nullable(),
  baseBytes: z.number().nullable(),
})

const tracing = z.object({ absentMs: time, offMs: time, onMs: time, n: count })

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

const peer = z.object({
  peer: z.enum(PEERS),
  report: z
    .object({
      library: text,
      what: text,
      versions: z.record(text, text),
      threads: count,
      rows: z.array(peerRow),
    })
    .nullable(),
  problem: text.nullable().describe('why there is no report'),
})

const runtime = z.object({
  device: z.enum(DEVICES),
  backend: text,
  reason: text,
  candidates: z.array(z.object({ device: z.enum(DEVICES), taken: z.boolean(), reason: text })),
  deviceName: text.nullable(),
  memoryBytes: z.number().nullable(),
  driver: text.nullable(),
  computeCapability: text.nullable(),
  tensorflowVersion: text.nullable(),
  tfjsVersion: text,
  nodeVersion: text,
  platform: text,
  cpuModel: text.nullable(),
  cpuFeatures: z.array(text),
  threads: count,
  threadsReason: text.optional(),
})

const conditions = z.object({
  runtime,
  preset: z.enum(PRESETS),
  dtype: z.literal('float32'),
  tf32: z.boolean().nullable(),
  executor: z.enum(EXECUTORS).describe('the rows that the conclusion is about'),
  machine: z.object({
    matmulGflops: z.number(),
    memoryGbPerS: z.number(),
    matmulSize: count,
    vectorBytes: count,
  }),
  commit: text.nullable(),
  loadAverage: z.number().nullable(),
  governor: text.nullable(),
  secondsPlanned: z.number().nullable(),
  seed: count,
  method: z.object({ outliers: text, interval: text, reading: text }),
})

const parts = <Name extends string>(...names: Name[]) =>
  z.object(Object.fromEntries(names.map((name) => [name, z.number()])) as Record<Name, z.ZodNumber>)

const model = z.object({
  name: text,
  parameters: z.object({
    parts: parts(
      'embedding',
      'attention',
      'router',
      'experts',
      'sharedExperts',
      'dense',
      'norms',
      'unembedding',
    ),
    total: z.number(),
    active: z.number().describe('what one token uses'),
    totalWithoutEmbeddings: z.number(),
    activeWithoutEmbeddings: z.number(),
  }),
  flopsPerToken: parts(
    'attentionProjections',
    'attentionScores',
    'router',
    'experts',
    'sharedExperts',
    'unembedding',
  ),
  weightBytesPerToken: z.number(),
  text: text.describe('where the tokens of prefill and decode come from'),
})

const layer = dims.extend({
  totalParameters: z.number(),
  activeParameters: z.number(),
  source: text,
  routing: z.record(z.enum(ROUTINGS), text),
})

/**
 * A stored report; `docs/bench.schema.json` is made from it. Fields that it does not know are let through, so that
 * a report of a later engine can still be read. Times in milliseconds; unknown is null.
 */
export const benchSchema = z
  .object({
    format: z.literal('tinymoe-bench'),
    version: z.literal(BENCH_VERSION),
    date: text,
    interrupted: z.boolean(),
    seconds: time,
    conclusion: text,
    conditions,
    model,
    layer,
    rows: z.array(row),
    sweeps: z.array(z.object({ kind: z.enum(CASE_KINDS), axis: z.enum(AXES), groups: z.array(text) })),
    breakdown: z.array(breakdown),
    capacity: z.array(capacity),
    loading: loading.nullable(),
    tracing: tracing.nullable(),
    peers: z.array(peer),
    assertion: z.object({ factor: z.number(), passed: z.boolean(), sentence: text }).nullable(),
  })
  .meta({ title: 'tinymoe bench report' })

/** The schema as JSON Schema, draft 2020-12. */
export function benchJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(benchSchema, { io: 'input' })
}
