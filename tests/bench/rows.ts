import type { BenchReport, Row } from '../../bench/schema.ts'
import { countParameters, flopsPerToken } from '../../src/cost/index.ts'
import { type ModelConfig, softmaxTopK } from '../../src/model/config.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { runtimeReport } from '../helpers/runtime-report.ts'

/** A row with made-up times; only what a test is about has to be given. */
export function row(values: Partial<Row>): Row {
  return {
    id: 'layer/D512-H1024-E16-K2/T16/real/sparse/eager',
    group: 'layer/D512-H1024-E16-K2/T16/real',
    kind: 'layer',
    dispatch: 'sparse',
    executor: 'eager',
    routing: 'real',
    dims: { D: 512, H: 1024, E: 16, K: 2 },
    tokens: 16,
    batch: 1,
    context: null,
    flops: 1e6,
    flopsCounted: 1e6,
    weightBytes: 4e6,
    spread: { minTokens: 1, meanTokens: 4, maxTokens: 9, expertsTouched: [8] },
    n: 3,
    medianMs: 2,
    p10Ms: 1.5,
    p90Ms: 2.5,
    p99Ms: 2.5,
    outliers: 0,
    tokensPerSecond: 8000,
    gflopsPerSecond: 0.5,
    shareOfMatmul: 0.005,
    shareOfBandwidth: 0.2,
    speedup: 2,
    speedupLow: 1.8,
    speedupHigh: 2.2,
    idealSpeedup: 8,
    read: 'whole',
    readMs: 0.01,
    warmupRounds: 2,
    warmupStable: true,
    samplesMs: [1.5, 2, 2.5],
    skipped: null,
    weightSets: 1,
    fromCache: false,
    expertHitRate: null,
    held: null,
    heldBytes: null,
    loss: null,
    lossTokens: null,
    ...values,
  }
}

/** Of a tiny model. */
export function config(): ModelConfig {
  return {
    family: 'mixtral',
    vocabSize: 10,
    hiddenSize: 4,
    maxPositionEmbeddings: 8,
    normEps: 1e-5,
    tieWordEmbeddings: true,
    layers: [
      {
        attention: groupedAttention({ headDim: 2 }),
        feedForward: { kind: 'moe', intermediateSize: 6, router: softmaxTopK(4, 2) },
      },
    ],
    bosTokenId: null,
    eosTokenIds: [],
  }
}

/** A report around rows, with made-up conditions. */
export function report(rows: Row[], values: Partial<BenchReport> = {}): BenchReport {
  return {
    format: 'tinymoe-bench',
    version: 3,
    date: '2026-01-02T03:04:05.000Z',
    interrupted: false,
    seconds: 12,
    conclusion: 'It is so.',
    conditions: {
      runtime: runtimeReport(),
      preset: 'default',
      dtype: 'float32',
      tf32: false,
      executor: 'eager',
      expertsOnDisk: null,
      machine: { matmulGflops: 100, memoryGbPerS: 10, matmulSize: 1024, vectorBytes: 2 ** 27 },
      cacheBytes: 2 ** 25,
      commit: null,
      loadAverage: null,
      governor: null,
      secondsPlanned: 180,
      seed: 1,
      method: { outliers: 'far from the rest', interval: 'by drawing again', reading: 'by reading it' },
    },
    model: {
      name: 'tiny',
      parameters: countParameters(config()),
      flopsPerToken: flopsPerToken(config(), 8, 'sparse'),
      weightBytesPerToken: 100,
      cacheBytesPerToken: null,
      text: 'random token ids',
    },
    layer: {
      D: 512,
      H: 1024,
      E: 16,
      K: 2,
      totalParameters: 25_174_016,
      activeParameters: 3_153_920,
      source: 'flags',
      routing: { uniform: 'even', real: 'a random router', worst: 'all to one' },
    },
    rows,
    sweeps: [],
    breakdown: [],
    capacity: [],
    loading: null,
    tracing: { absentMs: 2, offMs: 2, onMs: 3, n: 5 },
    peers: [],
    assertion: null,
    readings: [],
    ...values,
  }
}
