import * as tf from '@tensorflow/tfjs-core'
import { eachStored, packWeights } from '../../src/checkpoint/pack.ts'
import type { LayerConfig, ModelConfig } from '../../src/model/config.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { MoeModel } from '../../src/model/transformer.ts'
import { weightTable } from '../../src/model/weight-table.ts'
import {
  asLoaded,
  type ExpertWeights,
  type LinearWeights,
  type ModelWeights,
} from '../../src/model/weights.ts'
import { groupedAttention } from './attention.ts'
import type { Matrix, ReferenceExpert } from './reference.ts'

/** Seeded numbers in [-1, 1) (mulberry32), the same on every machine. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * 2 - 1
  }
}

export function randomMatrix(rows: number, columns: number, next: () => number, scale = 1): Matrix {
  return Array.from({ length: rows }, () =>
    Array.from({ length: columns }, () => Math.fround(next() * scale)),
  )
}

export function randomExpert(D: number, H: number, next: () => number): ReferenceExpert {
  const scale = 1.5 / Math.sqrt(D)
  return {
    gate: randomMatrix(D, H, next, scale),
    up: randomMatrix(D, H, next, scale),
    down: randomMatrix(H, D, next, scale),
  }
}

/** The same expert on the device. */
export function expertTensors({ gate, up, down }: ReferenceExpert): ExpertWeights {
  const stored = (matrix: Matrix) => matrix[0].map((_, out) => matrix.map((row) => row[out])) // [out, in]
  return { gateUp: linearTensors([...stored(gate), ...stored(up)]), down: linearTensors(stored(down)) }
}

function linearTensors(weight: Matrix): LinearWeights {
  return { weight: tf.tensor2d(weight), bias: null }
}

/** Dimensions of a random decoder; anything left out is small. */
export interface RandomModelOptions {
  seed?: number
  D?: number
  H?: number
  E?: number
  K?: number
  V?: number
  layers?: number
  heads?: number
  kvHeads?: number
  slidingWindow?: number | null
  tied?: boolean
}

/** A Mixtral-shaped model with random weights on the active backend. */
export function randomModel(options: RandomModelOptions = {}): MoeModel {
  const { seed = 1, D = 16, H = 24, E = 4, K = 2, V = 40, layers = 2, heads = 4, kvHeads = 2 } = options
  const next = randomNumbers(seed)
  const headDim = D / heads
  const layer: LayerConfig = {
    attention: groupedAttention({
      numHeads: heads,
      numKeyValueHeads: kvHeads,
      headDim,
      slidingWindow: options.slidingWindow ?? null,
    }),
    feedForward: { kind: 'moe', intermediateSize: H, router: softmaxTopK(E, K) },
  }
  const config: ModelConfig = {
    family: 'mixtral',
    vocabSize: V,
    hiddenSize: D,
    maxPositionEmbeddings: 65_536,
    normEps: 1e-5,
    tieWordEmbeddings: options.tied ?? false,
    layers: new Array(layers).fill(layer),
    bosTokenId: null,
    eosTokenIds: [],
  }
  const matrix = (rows: number, columns: number) =>
    tf.tensor2d(randomMatrix(rows, columns, next, 1.5 / Math.sqrt(rows)))
  const vector = (n: number) => tf.tensor1d(Array.from({ length: n }, () => 1 + 0.1 * next()))
  const linear = (rows: number, columns: number): LinearWeights => ({
    weight: matrix(rows, columns),
    bias: null,
  })
  const weights: ModelWeights = {
    embedding: tf.tensor2d(randomMatrix(V, D, next)),
    blocks: config.layers.map(() => ({
      attentionNorm: vector(D),
      attention: { qkv: linear(D, (heads + 2 * kvHeads) * headDim), output: linear(heads * headDim, D) },
      feedForwardNorm: vector(D),
      feedForward: {
        kind: 'moe',
        router: linear(D, E),
        scoreBias: null,
        ...asLoaded(Array.from({ length: E }, () => expertTensors(randomExpert(D, H, next)))),
      },
    })),
    finalNorm: vector(D),
    unembedding: options.tied ? null : linear(D, V),
  }
  return new MoeModel(config, weights)
}

/** A model of any family with random weights; norms near one. */
export function modelOfConfig(config: ModelConfig, seed: number): MoeModel {
  const next = randomNumbers(seed)
  const read = ({ name, shape }: { name: string; shape: number[] }, target: Float32Array) => {
    const [size, middle] = name.endsWith('Norm') ? [0.1, 1] : [1.5 / Math.sqrt(shape.at(-1) as number), 0]
    for (let i = 0; i < target.length; i++) target[i] = middle + size * next()
  }
  return new MoeModel(config, packWeights(weightTable(config), eachStored(read)))
}

/** Seeded token ids below V. */
export function randomTokens(count: number, V: number, seed: number): number[] {
  const next = randomNumbers(seed)
  return Array.from({ length: count }, () => Math.floor(((next() + 1) / 2) * V))
}
