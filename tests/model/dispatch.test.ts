import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { LIMITS } from '../../src/backend/limits.ts'
import { startRuntime } from '../../src/device/index.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { chooseDispatch } from '../../src/model/dispatch/index.ts'
import { applyExpert } from '../../src/model/experts.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { route } from '../../src/model/router/route.ts'
import type { Routing } from '../../src/model/router/types.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { asLoaded } from '../../src/model/weights.ts'
import { maxDifference } from '../helpers/golden.ts'
import { expertTensors, randomExpert, randomMatrix, randomNumbers } from '../helpers/random.ts'
import { expertReference, moeReference } from '../helpers/reference.ts'

const D = 12
const H = 20

/** A layer of random experts, input rows and the router logits to send them by. */
function randomLayer(T: number, E: number, K: number, logits?: number[][]) {
  const next = randomNumbers(T * 1000 + E * 10 + K)
  const reference = Array.from({ length: E }, () => randomExpert(D, H, next))
  const x = randomMatrix(T, D, next)
  const config = { kind: 'moe' as const, intermediateSize: H, router: softmaxTopK(E, K) }
  const routerLogits = logits ?? randomMatrix(T, E, next, 3)
  const routing = route(Float32Array.from(routerLogits.flat()), config.router)
  return { reference, x, config, routerLogits, routing, expected: moeReference(x, reference, routing).flat() }
}

/** The layer on the active backend through one dispatch. */
function run(layer: ReturnType<typeof randomLayer>, dispatch: (typeof DISPATCHES)[number]): Float32Array {
  return tf.tidy(() => {
    const weights = {
      kind: 'moe' as const,
      router: { weight: tf.tensor2d([[0]]), bias: null },
      scoreBias: null,
      ...asLoaded(layer.reference.map(expertTensors)),
    }
    const { output } = routeAndDispatch(
      tf.tensor2d(layer.x),
      tf.tensor2d(layer.routerLogits),
      weights,
      layer.config,
      dispatch,
      { place: { layer: 0 } },
    )
    return output.dataSync() as Float32Array
  })
}

describe.each(['cpu', 'wasm', 'js'] as const)('on %s', (device) => {
  beforeAll(async () => {
    await startRuntime({ device })
  })

  describe.each([
    [8, 2],
    [8, 1],
    [8, 8],
    [3, 2],
    [1, 1],
  ])('E=%i K=%i', (E, K) => {
    test.each([1, 2, 7, 33])('every dispatch equals the definition for T=%i', (T) => {
      const layer = randomLayer(T, E, K)
      for (const dispatch of DISPATCHES) {
        expect(maxDifference(run(layer, dispatch), layer.expected), dispatch).toBeLessThan(2e-5)
      }
    })
  })

  test('all tokens to one expert, and experts without a token', () => {
    const toExpert2 = Array.from({ length: 9 }, () => [0, -1, 5, -2])
    const layer = randomLayer(9, 4, 1, toExpert2)
    expect([...layer.routing.tokensPerExpert]).toEqual([0, 0, 9, 0])
    for (const dispatch of DISPATCHES) {
      expect(maxDifference(run(layer, dispatch), layer.expected), dispatch).toBeLessThan(2e-5)
    }
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    'an expert of %d hurts only tokens that go to it',
    (bad) => {
      const toOthers = Array.from({ length: 9 }, (_, t) => [t % 3, 1, 0, -9])
      const layer = randomLayer(9, 4, 2, toOthers)
      const spoilt = layer.reference.map((expert, e) =>
        e === 3 ? { ...expert, down: expert.down.map((row) => row.map(() => bad)) } : expert,
      )
      for (const dispatch of DISPATCHES) {
        const output = run({ ...layer, reference: spoilt }, dispatch)
        expect(maxDifference(output, layer.expected), dispatch).toBeLessThan(2e-5)
      }
      const lastToIt = { ...layer, routerLogits: toOthers.with(8, [0, 0, 0, 9]), reference: spoilt }
      const unlike = run(lastToIt, 'dense')
      expect(maxDifference(unlike.subarray(0, 8 * D), layer.expected.slice(0, 8 * D))).toBeLessThan(2e-5)
      expect(unlike.subarray(8 * D).some(Number.isFinite)).toBe(false)
    },
  )

  test('E=1 is the plain feed-forward', () => {
    const layer = randomLayer(5, 1, 1)
    const plain = layer.x.flatMap((row) => expertReference(row, layer.reference[0]))
    for (const dispatch of DISPATCHES) expect(maxDifference(run(layer, dispatch), plain)).toBeLessThan(2e-5)
  })

  test('K=E is dense: every expert, weighted by the whole softmax', () => {
    const layer = randomLayer(5, 4, 4)
    const expected = layer.x.flatMap((row, t) => {
      const exps = layer.routerLogits[t].map(Math.exp)
      const sum = exps.reduce((a, b) => a + b, 0)
      const outputs = layer.reference.map((expert) => expertReference(row, expert))
      return row.map((_, d) => outputs.reduce((y, output, e) => y + (exps[e] / sum) * output[d], 0))
    })
    for (const dispatch of DISPATCHES)
      expect(maxDifference(run(layer, dispatch), expected)).toBeLessThan(2e-5)
  })

  test('equal logits go to the lower experts on every dispatch', () => {
    const layer = randomLayer(
      6,
      8,
      2,
      Array.from({ length: 6 }, () => new Array(8).fill(0.5)),
    )
    expect([...layer.routing.expertIndices]).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    for (const dispatch of DISPATCHES)
      expect(maxDifference(run(layer, dispatch), layer.expected)).toBeLessThan(2e-5)
  })

  test('no tensor is left behind', () => {
    const before = tf.memory().numTensors
    const layer = randomLayer(7, 4, 2)
    for (const dispatch of DISPATCHES) run(layer, dispatch)
    expect(tf.memory().numTensors).toBe(before)
  })
})

test('an expert applied to no rows gives no rows, as the grouping on the device needs', async () => {
  await startRuntime({ device: 'cpu' })
  tf.tidy(() => {
    const expert = expertTensors(randomExpert(D, H, randomNumbers(3)))
    expect(applyExpert(tf.zeros([0, D]), expert).shape).toEqual([0, D])
  })
})

test('an expert that no token goes to does not get into gradients', async () => {
  await startRuntime({ device: 'cpu' })
  const layer = randomLayer(
    5,
    4,
    2,
    Array.from({ length: 5 }, () => [1, 2, 0, -9]),
  )
  const gradients = (bad: number) =>
    tf.tidy(() => {
      const spoilt = layer.reference.map((expert, e) =>
        e === 3 ? { ...expert, down: expert.down.map((row) => row.map(() => bad)) } : expert,
      )
      const weights = {
        kind: 'moe' as const,
        router: { weight: tf.tensor2d([[0]]), bias: null },
        scoreBias: null,
        ...asLoaded(spoilt.map(expertTensors)),
      }
      const context = { place: { layer: 0 }, training: { onRouting: () => {} } }
      const [ofX, ofLogits] = tf.grads((x, logits) =>
        tf.sum(
          routeAndDispatch(x as tf.Tensor2D, logits as tf.Tensor2D, weights, layer.config, 'auto', context)
            .output,
        ),
      )([tf.tensor2d(layer.x), tf.tensor2d(layer.routerLogits)])
      return [...ofX.dataSync(), ...ofLogits.dataSync()]
    })
  expect(gradients(Number.NaN)).toEqual(gradients(1))
})

test('auto gathers few assignments and groups many', () => {
  expect(chooseDispatch(1, LIMITS.gatherAssignments)).toBe('gather')
  expect(chooseDispatch(LIMITS.gatherAssignments + 1, 1)).toBe('sparse')
})

test('a routing counts its tokens', () => {
  const { tokensPerExpert }: Routing = randomLayer(20, 5, 3).routing
  expect(tokensPerExpert.reduce((a, b) => a + b, 0)).toBe(60)
})
