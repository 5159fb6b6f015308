import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import { countMatmulFlops } from '../../src/cost/count.ts'
import { type ForwardShape, forwardFlops, moeLayerFlops, totalFlops } from '../../src/cost/flops.ts'
import { startRuntime } from '../../src/device/index.ts'
import { meanColumnsMet } from '../../src/model/attention/mask.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import type { Dims } from '../../src/model/shapes.ts'
import { DISPATCHES, type DispatchName } from '../../src/model/ways.ts'
import type { MoeWeights } from '../../src/model/weights.ts'
import { fixtureModel } from '../helpers/golden.ts'
import {
  expertTensors,
  randomExpert,
  randomMatrix,
  randomModel,
  randomNumbers,
  randomTokens,
} from '../helpers/random.ts'

type LayerDims = Omit<Dims, 'V'>

/** Runs one random mixture layer, router included. */
function runLayer({ T, D, H, E, K }: LayerDims, dispatch: DispatchName): void {
  tf.tidy(() => {
    const next = randomNumbers(T + 7 * E + 31 * D)
    const weights: MoeWeights = {
      kind: 'moe',
      router: { weight: tf.tensor2d(randomMatrix(D, E, next)), bias: null },
      scoreBias: null,
      experts: Array.from({ length: E }, () => expertTensors(randomExpert(D, H, next))),
    }
    const x = tf.tensor2d(randomMatrix(T, D, next))
    const config = { kind: 'moe' as const, intermediateSize: H, router: softmaxTopK(E, K) }
    routeAndDispatch(x, linear(x, weights.router), weights, config, dispatch)
  })
}

const dimensions = fc
  .record({
    T: fc.integer({ min: 1, max: 24 }),
    D: fc.integer({ min: 1, max: 12 }),
    H: fc.integer({ min: 1, max: 12 }),
    E: fc.integer({ min: 1, max: 8 }),
  })
  .chain((dims) => fc.integer({ min: 1, max: dims.E }).map((K) => ({ ...dims, K })))

describe.each(['cpu', 'wasm', 'js'] as const)('FLOPs counted on %s', (device) => {
  beforeAll(async () => {
    await startRuntime({ device })
  })

  test.each(DISPATCHES)('one layer equals the formula for any shape (%s)', (dispatch) => {
    fc.assert(
      fc.property(dimensions, (dims) => {
        expect(countMatmulFlops(() => runLayer(dims, dispatch)).flops).toBe(moeLayerFlops(dims, dispatch))
      }),
      { numRuns: 40, seed: 1 },
    )
  })

  test('a layer that runs every expert where only the routed rows are due is found out', () => {
    const dims = { T: 9, D: 8, H: 6, E: 4, K: 2 }
    const { flops } = countMatmulFlops(() => runLayer(dims, 'dense'))
    expect(flops).toBeGreaterThan(moeLayerFlops(dims, 'sparse'))
    expect(flops - moeLayerFlops(dims, 'sparse')).toBe(2 * 3 * 8 * 6 * 9 * (4 - 2))
  })

  test.each(DISPATCHES)(
    'a model equals the formula: prompt, then tokens through the cache (%s)',
    (dispatch) => {
      for (const [tied, slidingWindow] of [
        [false, null],
        [true, null],
        [false, 5],
      ] as const) {
        const model = randomModel({ tied, slidingWindow })
        const cache = model.createCache()
        const forward = (tokens: number[] | number[][], logits: 'all' | 'last', own = cache) =>
          countMatmulFlops(() => tf.dispose(model.forward(tokens, { cache: own, dispatch, logits }).logits))
            .flops
        const formula = (shape: Omit<ForwardShape, 'dispatch'>) =>
          totalFlops(forwardFlops(model.config, { ...shape, dispatch }))
        // With a window of 5 the cache keeps the last 4 columns for the next call.
        const kept = (seen: number) => Math.min(seen, (slidingWindow ?? Number.POSITIVE_INFINITY) - 1)

        expect(forward(randomTokens(7, 40, 1), 'all')).toBe(formula({ tokens: 7, context: 7, logitRows: 7 }))
        expect(forward([3], 'last')).toBe(formula({ tokens: 1, context: kept(7) + 1, logitRows: 1 }))
        expect(forward(randomTokens(3, 40, 2), 'last')).toBe(
          formula({ tokens: 3, context: kept(8) + 3, logitRows: 1 }),
        )
        cache.dispose()

        const batchCache = model.createCache()
        const batch = [randomTokens(6, 40, 3), randomTokens(6, 40, 4)]
        expect(forward(batch, 'last', batchCache)).toBe(formula({ tokens: 12, context: 6, logitRows: 2 }))
        batchCache.dispose()
        model.dispose()
      }
    },
  )

  test('a long prompt equals the formula: each block of queries meets the columns up to its end, or its window', () => {
    for (const slidingWindow of [null, 30]) {
      const model = randomModel({ slidingWindow })
      const { flops } = countMatmulFlops(() =>
        tf.dispose(model.forward(randomTokens(150, 40, 5), { dispatch: 'sparse', logits: 'last' }).logits),
      )
      const met = slidingWindow ? 64 * 64 + 64 * (64 + 29) + 22 * (22 + 29) : 64 * 64 + 64 * 128 + 22 * 150
      expect(meanColumnsMet(150, { slidingWindow })).toBe(met / 150)
      const shape = { tokens: 150, context: met / 150, logitRows: 1, dispatch: 'sparse' as const }
      expect(flops).toBe(Math.round(totalFlops(forwardFlops(model.config, shape))))
      model.dispose()
    }
  })

  test.each(DISPATCHES)('a model with shared experts and a layer without experts too (%s)', (dispatch) => {
    const model = fixtureModel('glm4_moe')
    const { flops } = countMatmulFlops(() => tf.dispose(model.forward([1, 2, 3, 4], { dispatch }).logits))
    const parts = forwardFlops(model.config, { tokens: 4, context: 4, logitRows: 4, dispatch })
    expect(parts.sharedExperts).toBeGreaterThan(0)
    expect(flops).toBe(totalFlops(parts))
    model.dispose()
  })

  test('transposed, batched and broadcast products count by their real shapes', () => {
    tf.tidy(() => {
      const a = tf.ones([2, 3, 5])
      const b = tf.ones([7, 5])
      const { flops, result, matmuls } = countMatmulFlops(() => tf.matMul(a, tf.expandDims(b), false, true))
      expect(result.shape).toEqual([2, 3, 7])
      expect(flops).toBe(2 * 2 * 3 * 5 * 7)
      expect(matmuls).toMatchObject([{ batch: 2, m: 3, k: 5, n: 7 }])
      expect(countMatmulFlops(() => tf.matMul(b, b, true, false)).flops).toBe(2 * 5 * 7 * 5)
      expect(countMatmulFlops(() => tf.matMul(tf.ones([3, 5]), tf.ones([5, 4]))).flops).toBe(2 * 3 * 5 * 4)
    })
  })

  test('nothing stays wrapped: after a call, after a nested one, after one that throws', () => {
    const product = () => tf.tidy(() => tf.matMul(tf.ones([2, 3]), tf.ones([3, 4])).shape)
    const engine = Object.getOwnPropertyNames(tf.engine())
    const backend = Object.getOwnPropertyNames(tf.backend())
    const outer = countMatmulFlops(() => {
      product()
      return countMatmulFlops(product)
    })
    expect(outer.result.flops).toBe(48)
    expect(outer.flops).toBe(96)
    const failing = () => {
      throw new Error('stop')
    }
    expect(() => countMatmulFlops(failing)).toThrow('stop')
    expect(() => countMatmulFlops(async () => 1)).toThrow('asynchronous')
    expect(Object.getOwnPropertyNames(tf.engine())).toEqual(engine)
    expect(Object.getOwnPropertyNames(tf.backend())).toEqual(backend)
    expect(countMatmulFlops(() => 1).flops).toBe(0)
  })
})

// wasm has no einsum.
test.each(['cpu', 'js'])('einsum counts by its indices on %s', async (device) => {
  await startRuntime({ device })
  tf.tidy(() => {
    const { flops } = countMatmulFlops(() =>
      tf.einsum('bij,bjk->bik', tf.ones([2, 3, 5]), tf.ones([2, 5, 4])),
    )
    expect(flops).toBe(2 * 2 * 3 * 5 * 4)
    expect(() => countMatmulFlops(() => tf.einsum('ij->ji', tf.ones([2, 3])))).toThrow('two operands')
  })
})

test('raw TensorFlow ops count with their own transpose flags; a product of an unknown name is an error', async () => {
  await startRuntime({ device: 'cpu' })
  const backend = activeTensorflow()
  const { TF_ATTR_TYPE, TF_ATTR_BOOL, TF_FLOAT } = backend.binding
  const attributes = [
    { name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT },
    { name: 'transpose_a', type: TF_ATTR_BOOL, value: true },
  ]
  tf.tidy(() => {
    const inputs = [tf.ones([5, 2]), tf.ones([5, 3])]
    const raw = (op: string) => () => backend.executeSingleOutput(op, attributes, inputs)
    expect(countMatmulFlops(raw('MatMul'))).toMatchObject({ flops: 2 * 2 * 5 * 3, result: { shape: [2, 3] } })
    expect(() => countMatmulFlops(raw('SomeNewMatMul'))).toThrow('SomeNewMatMul is not known')
  })
})
