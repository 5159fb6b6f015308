import type { BenchReport, Row } from '../../bench/types.ts'
import { countParameters, flopsPerToken } from '../../src/cost/index.ts'
import { softmaxTopK } from '../../src/model/config.ts'

/** A row with made-up times; only what a test is about has to be given. */
export function row(values: Partial<Row>): Row {
  return {
    kind: 'layer',
    dispatch: 'sparse',
    tokens: 16,
    context: null,
    flops: 1e6,
    flopsCounted: 1e6,
    weightBytes: 4e6,
    spread: { minTokens: 1, meanTokens: 4, maxTokens: 9, expertsTouched: [8] },
    n: 3,
    medianMs: 2,
    p10Ms: 1.5,
    p90Ms: 2.5,
    gflopsPerSecond: 0.5,
    speedup: 2,
    idealSpeedup: 8,
    readMs: 0.01,
    warmupRounds: 2,
    warmupStable: true,
    samplesMs: [1.5, 2, 2.5],
    skipped: null,
    ...values,
  }
}

/** A report around rows, with made-up conditions. */
export function report(rows: Row[], values: Partial<BenchReport> = {}): BenchReport {
  const config = {
    family: 'mixtral',
    vocabSize: 10,
    hiddenSize: 4,
    maxPositionEmbeddings: 8,
    normEps: 1e-5,
    tieWordEmbeddings: true,
    attention: { numHeads: 2, numKeyValueHeads: 1, headDim: 2, bias: false, slidingWindow: null },
    rope: { theta: 1e4, scaling: { type: 'default' as const } },
    layers: [{ kind: 'moe' as const, intermediateSize: 6, router: softmaxTopK(4, 2) }],
    bosTokenId: null,
    eosTokenIds: [],
  }
  return {
    format: 'tinymoe-bench',
    version: 1,
    date: '2026-01-02T03:04:05.000Z',
    interrupted: false,
    seconds: 12,
    conclusion: 'It is so.',
    conditions: {
      runtime: {
        device: 'cpu',
        backend: 'tensorflow',
        reason: 'native TensorFlow on the processor',
        candidates: [],
        deviceName: 'Some Processor',
        memoryBytes: null,
        driver: null,
        computeCapability: null,
        tensorflowVersion: '2.21.0',
        tfjsVersion: '4.22.0',
        nodeVersion: '20.0.0',
        platform: 'linux x64',
        cpuModel: null,
        cpuFeatures: [],
        threads: 2,
      },
      dtype: 'float32',
      executor: 'recorded',
      machine: { matmulGflops: 100, memoryGbPerS: 10, matmulSize: 1024, vectorBytes: 2 ** 27 },
      commit: null,
      loadAverage: null,
      quick: false,
      budgetMsPerCase: 12_000,
      seed: 1,
    },
    model: {
      name: 'tiny',
      parameters: countParameters(config),
      flopsPerToken: flopsPerToken(config, 8, 'sparse'),
      weightBytesPerToken: 100,
      text: 'random token ids',
    },
    layer: { D: 512, H: 1024, E: 16, K: 2, totalParameters: 25_174_016, activeParameters: 3_153_920 },
    rows,
    tracing: { absentMs: 2, offMs: 2, onMs: 3, n: 5 },
    peers: null,
    ...values,
  }
}
