import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { LIMITS } from '../../src/backend/limits.ts'
import { startRuntime } from '../../src/device/index.ts'
import { planFor } from '../../src/graph/plan.ts'
import { type Clamp, softmaxTopK } from '../../src/model/config.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { route } from '../../src/model/router/route.ts'
import { asLoaded } from '../../src/model/weights.ts'
import { byKernels, NO_ROUTER } from '../helpers/by-kernels.ts'
import { maxDifference } from '../helpers/golden.ts'
import { expertTensors, randomExpert, randomMatrix, randomNumbers } from '../helpers/random.ts'
import { clampedExpertReference, moeReference, type ReferenceClampedExpert } from '../helpers/reference.ts'

/* gpt-oss' experts, with biases and bounds: of few rows one kernel. Held in mxfp4: tests/checkpoint/minifloats.test.ts. */

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

interface Sizes extends Clamp {
  T: number
  D: number
  H: number
  E: number
  K: number
  seed: number
}

function tensorsOf(expert: ReferenceClampedExpert) {
  const { gateUp, down } = expertTensors(expert)
  const { biases } = expert
  return {
    gateUp: { ...gateUp, bias: tf.tensor1d([...biases.gate, ...biases.up]) },
    down: { ...down, bias: tf.tensor1d(biases.down) },
  }
}

function expectDefinition({ T, D, H, E, K, seed, ...clamp }: Sizes): void {
  const numbers = randomNumbers(seed)
  const vector = (n: number) => randomMatrix(1, n, numbers)[0]
  const experts = Array.from({ length: E }, () => {
    const biases = { gate: vector(H), up: vector(H), down: vector(D) }
    return { ...randomExpert(D, H, numbers), biases, clamp }
  })
  const [x, logits] = [randomMatrix(T, D, numbers), randomMatrix(T, E, numbers, 3)]
  const router = softmaxTopK(E, K)
  const routing = route(Float32Array.from(logits.flat()), router)
  const expected = moeReference(x, experts, routing, clampedExpertReference).flat()
  const config = { kind: 'moe' as const, intermediateSize: H, router, expertBias: true, clamp }
  for (const dispatch of ['gather', 'sparse'] as const)
    tf.tidy(() => {
      const layer = { ...NO_ROUTER, ...asLoaded(experts.map(tensorsOf)) }
      const { kernels, actual, flops } = byKernels(
        { x: tf.tensor2d(x), logits: tf.tensor2d(logits) },
        ({ x, logits }) =>
          routeAndDispatch(x as tf.Tensor2D, logits as tf.Tensor2D, layer, config, dispatch).output,
        planFor({ rows: T }),
      )
      expect(kernels.includes('TinymoeClampedExperts')).toBe(T <= LIMITS.fewRows)
      expect(maxDifference(actual, expected), dispatch).toBeLessThan(3e-5)
      expect(flops[0]).toBe(flops[1])
    })
}

test('equal the definition, for any T, D, H, E and K, and bounds that many numbers meet', () => {
  const sizes = fc
    .record({
      T: fc.integer({ min: 1, max: LIMITS.fewRows + 2 }),
      D: fc.integer({ min: 1, max: 70 }),
      H: fc.integer({ min: 1, max: 70 }),
      E: fc.integer({ min: 1, max: 9 }),
      seed: fc.nat(),
      limit: fc.constantFrom(0.3, 7),
      alpha: fc.constantFrom(1, 1.702),
    })
    .chain((dims) => fc.integer({ min: 1, max: dims.E }).map((K) => ({ ...dims, K })))
  fc.assert(fc.property(sizes, expectDefinition), { numRuns: 30 })
})

test('so large that threads share them; E = 1; K = E', () => {
  const clamp = { limit: 0.5, alpha: 1.702 }
  expectDefinition({ T: 3, D: 130, H: 141, E: 4, K: 2, seed: 1, ...clamp })
  expectDefinition({ T: 16, D: 129, H: 256, E: 1, K: 1, seed: 2, ...clamp })
  expectDefinition({ T: 5, D: 96, H: 203, E: 3, K: 3, seed: 3, ...clamp })
})
