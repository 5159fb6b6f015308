import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { attend } from '../../src/model/attention/attend.ts'
import { MASKED, queryBlocks } from '../../src/model/attention/mask.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { layerNorm } from '../../src/model/norm.ts'
import { interventionFor } from '../../src/model/router/interventions.ts'
import { route } from '../../src/model/router/route.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { asLoaded } from '../../src/model/weights.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { maxDifference } from '../helpers/golden.ts'
import { expertTensors, randomExpert, randomMatrix, randomNumbers } from '../helpers/random.ts'
import { attentionReference, expertReference } from '../helpers/reference.ts'

/* What families add to attention, experts and norms, against the slow definitions. */

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

test('chunks, windows and sinks equal the definition', () => {
  const input = fc.record({
    T: fc.integer({ min: 1, max: 20 }),
    before: fc.integer({ min: 0, max: 9 }),
    chunk: fc.constantFrom(undefined, 1, 3, 7),
    slidingWindow: fc.constantFrom(null, 2, 5),
    withSinks: fc.boolean(),
    seed: fc.nat(),
  })
  fc.assert(
    fc.property(input, ({ T, before, chunk, slidingWindow, withSinks, seed }) => {
      const [N, Nk, d, S] = [4, 2, 3, T + before]
      const config = groupedAttention({ numHeads: N, numKeyValueHeads: Nk, headDim: d, slidingWindow, chunk })
      const next = randomNumbers(seed)
      const rows = (count: number, heads: number) =>
        Array.from({ length: count }, () => randomMatrix(heads, d, next, 2))
      const [q, k, v] = [rows(T, N), rows(S, Nk), rows(S, Nk)]
      const sinks = withSinks ? Array.from({ length: N }, next) : undefined
      const expected = attentionReference(q, k, v, config, sinks).flat()
      tf.tidy(() => {
        const stored = (all: number[][][]) => tf.transpose(tf.tensor4d([all]), [0, 2, 1, 3])
        const blocks = queryBlocks(
          [new Uint8Array(S).fill(1)],
          T,
          { slidingWindow, chunk, groups: N / Nk },
          6,
        )
        const scaled = tf.mul<tf.Tensor4D>(tf.tensor4d([q]), d ** -0.5)
        const mixed = attend(
          scaled,
          { keys: stored(k), values: stored(v) },
          blocks,
          sinks && tf.tensor1d(sinks),
        )
        expect(maxDifference(mixed.dataSync(), expected)).toBeLessThan(1e-5)
      })
    }),
    { numRuns: 60 },
  )
})

test('values that are a part of the keys are the same as by themselves', () => {
  tf.tidy(() => {
    const next = randomNumbers(3)
    const keys = tf.tensor4d([[randomMatrix(5, 6, next)]])
    const q = tf.tensor4d([[randomMatrix(3, 6, next)]])
    const mask = tf.tensor4d([[[[0, 0, MASKED, 0, 0]]]])
    const blocks = [{ tokens: 1, cut: (all: tf.Tensor4D) => all, mask }]
    const apart = attend(q, { keys, values: tf.slice(keys, [0, 0, 0, 0], [1, 1, 5, 4]) }, blocks)
    expect(maxDifference(attend(q, { keys, values: 4 }, blocks).dataSync(), apart.dataSync())).toBe(0)
  })
})

test('weights on the experts input, and clamped experts with biases, equal the definition in every dispatch', () => {
  const [T, D, H, E, K] = [5, 6, 4, 4, 2]
  const next = randomNumbers(11)
  const plain = Array.from({ length: E }, () => randomExpert(D, H, next))
  const x = randomMatrix(T, D, next)
  const logits = Float32Array.from({ length: T * E }, next)
  const router = {
    ...softmaxTopK(E, K),
    scoring: 'none' as const,
    weighting: 'sigmoid-of-chosen' as const,
    weighsInput: true as const,
  }
  const { expertIndices, expertWeights } = route(logits, router)
  const expected = x.flatMap((row, t) => {
    const outputs = [0, 1].map((k) => {
      const w = expertWeights[t * K + k]
      return expertReference(
        row.map((value) => w * value),
        plain[expertIndices[t * K + k]],
      )
    })
    return outputs[0].map((value, i) => value + outputs[1][i])
  })
  tf.tidy(() => {
    const weights = {
      kind: 'moe' as const,
      router: { weight: tf.zeros<tf.Rank.R2>([D, E]), bias: null },
      scoreBias: null,
      ...asLoaded(plain.map(expertTensors)),
    }
    const config = { kind: 'moe' as const, intermediateSize: H, router }
    const intervention = interventionFor({ capacity: { factor: 9, policy: 'drop' } }, router, 0)
    for (const dispatch of DISPATCHES) {
      for (const context of [{ place: { layer: 0 } }, { place: { layer: 0 }, intervention }]) {
        const { output } = routeAndDispatch(
          tf.tensor2d(x),
          tf.tensor2d(logits, [T, E]),
          weights,
          config,
          dispatch,
          context,
        )
        expect(maxDifference(output.dataSync(), expected)).toBeLessThan(1e-5)
      }
    }
  })
})

test('a clamped expert with biases, by hand', () => {
  const [D, H, E] = [3, 2, 2]
  const next = randomNumbers(5)
  const clamp = { limit: 0.4, alpha: 1.7 }
  const x = randomMatrix(1, D, next, 2)
  const experts = Array.from({ length: E }, () => ({
    gate: randomMatrix(H, D, next),
    up: randomMatrix(H, D, next),
    down: randomMatrix(D, H, next),
    biases: {
      gate: randomMatrix(1, H, next)[0],
      up: randomMatrix(1, H, next)[0],
      down: randomMatrix(1, D, next)[0],
    },
  }))
  const times = (matrix: number[][], row: number[], bias: number[]) =>
    matrix.map((weights, i) => weights.reduce((sum, weight, j) => sum + weight * row[j], bias[i]))
  const [first] = experts
  const gate = times(first.gate, x[0], first.biases.gate).map((g) => Math.min(g, clamp.limit))
  const up = times(first.up, x[0], first.biases.up).map((u) =>
    Math.max(-clamp.limit, Math.min(u, clamp.limit)),
  )
  const hidden = gate.map((g, i) => (g / (1 + Math.exp(-clamp.alpha * g))) * (up[i] + 1))
  const expected = times(first.down, hidden, first.biases.down)
  tf.tidy(() => {
    const weights = {
      kind: 'moe' as const,
      router: { weight: tf.zeros<tf.Rank.R2>([D, E]), bias: null },
      scoreBias: null,
      ...asLoaded(
        experts.map(({ gate, up, down, biases }) => ({
          gateUp: {
            weight: tf.tensor2d([...gate, ...up]),
            bias: tf.tensor1d([...biases.gate, ...biases.up]),
          },
          down: { weight: tf.tensor2d(down), bias: tf.tensor1d(biases.down) },
        })),
      ),
    }
    const config = { kind: 'moe' as const, intermediateSize: H, router: softmaxTopK(E, 1), clamp }
    for (const dispatch of DISPATCHES) {
      const { output } = routeAndDispatch(tf.tensor2d(x), tf.tensor2d([[1, 0]]), weights, config, dispatch)
      expect(maxDifference(output.dataSync(), expected)).toBeLessThan(1e-6)
    }
  })
})

test('LayerNorm with and without a bias, by hand', () => {
  tf.tidy(() => {
    const x = [1, 2, 6]
    const variance = (4 + 1 + 9) / 3
    const normed = x.map((value) => (value - 3) / Math.sqrt(variance + 1e-5))
    const of = (weight: number[]) => layerNorm(tf.tensor2d([x]), tf.tensor1d(weight), 1e-5).dataSync()
    expect(
      maxDifference(
        of([2, 3, 4]),
        normed.map((value, i) => value * [2, 3, 4][i]),
      ),
    ).toBeLessThan(1e-6)
    const shifted = normed.map((value, i) => value * [2, 3, 4][i] + [5, 6, 7][i])
    expect(maxDifference(of([2, 3, 4, 5, 6, 7]), shifted)).toBeLessThan(1e-6)
  })
})
