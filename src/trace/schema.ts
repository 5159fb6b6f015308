import { z } from 'zod'

/** Raised when a reader of the old form could misread the new one. */
export const TRACE_VERSION = 1

const count = z.int().min(0)

/** JSON has no such numbers, so they are strings, as in protobuf's JSON. */
const number = z
  .union([z.number(), z.literal(['NaN', 'Infinity', '-Infinity'])], {
    error: 'expected a number, "NaN", "Infinity" or "-Infinity"',
  })
  .meta({ id: 'number' })

function matrix(description: string) {
  return z.array(z.array(number)).describe(description)
}

const statistics = z
  .strictObject({
    loadBalanceLoss: number.describe('E sum f_e P_e with sum f = 1; 1 when balanced'),
    expertsUsed: count,
    utilisation: z.array(number).describe('[E] share of the assignments'),
    maxViolation: number.describe('(largest load - mean load) / mean load; 0 when balanced'),
    normalisedLoadEntropy: number.describe('entropy of the load / ln E; 1 when balanced'),
    coactivation: matrix('[E][E] N_ij / N_i'),
    routingAgreement: number.nullable().describe('mean overlap of successive tokens, share of K'),
    meanMargin: number.nullable(),
    meanEntropy: number.describe('nats'),
    dropped: count.describe('assignments dropped by a capacity limit'),
    hitRate: number.nullable().optional().describe('share of needed experts that were in memory'),
  })
  .describe('computed from the rest; not read back')

const layer = z.strictObject({
  layer: count.describe('index among all layers, dense ones included'),
  numExperts: z.int().min(1).describe('E'),
  topK: z.int().min(1).describe('K'),
  routerLogits: matrix('[T][E] as the router gave them, before any intervention'),
  scores: matrix('[T][E] after temperature and disabling'),
  compared: matrix('[T][E] what experts are compared by, where that is not the scores').optional(),
  expertIndices: z
    .array(z.array(z.int().min(-1)))
    .describe('[T][K] most preferred first; -1 where a capacity limit dropped the assignment'),
  expertWeights: matrix('[T][K]; 0 where dropped'),
  tokensPerExpert: z.array(count).describe('[E] without the dropped'),
  margins: z
    .array(number.nullable())
    .describe('[T] worst chosen less best not chosen, in what is compared; null where there is none'),
  entropies: z.array(number).describe('[T] entropy of the scores as shares, nats'),
  reads: z
    .strictObject({ hits: count, misses: count, bytes: count })
    .optional()
    .describe('experts found in memory and read, each counted once a step, where they stay on disk'),
  statistics: statistics.optional(),
})

const hiddenStates = z.strictObject({
  embed: matrix('[T][D]'),
  layers: z.array(
    z.strictObject({
      attention: matrix('[T][D]'),
      feedForward: matrix('[T][D]'),
      output: matrix('[T][D]'),
    }),
  ),
  finalNorm: matrix('[T][D]'),
})

/** The JSON form of a trace; `docs/trace.schema.json` is made from it. T tokens, E experts, K chosen, D model width. */
export const traceSchema = z
  .strictObject({
    format: z.literal('tinymoe-trace'),
    version: z.literal(TRACE_VERSION),
    rows: z
      .array(
        z.strictObject({
          sequence: count.describe('which sequence of the batch'),
          position: count.describe('place in that sequence'),
          token: count.describe('token id'),
          text: z.string().nullable().describe('what the token stands for; null without a tokenizer'),
        }),
      )
      .min(1)
      .describe('[T] the tokens, in the order of all [T] arrays'),
    layers: z.array(layer).min(1).describe('the mixture layers, first to last'),
    interventions: z
      .record(z.string(), z.unknown())
      .optional()
      .describe(
        'what was changed about the routing, as it was given; a replayed trace is left out, as this one has its decisions',
      ),
    callLengths: z
      .array(z.int().min(1))
      .min(2)
      .optional()
      .describe('how many of the rows each call had, where the trace joins several'),
    hiddenStates: hiddenStates.nullable(),
  })
  .meta({ title: 'tinymoe routing trace' })

export type TraceJson = z.infer<typeof traceSchema>
export type NumberJson = z.infer<typeof number>
