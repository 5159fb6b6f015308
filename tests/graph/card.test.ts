import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { type Plan, planFor } from '../../src/graph/plan.ts'
import { record } from '../../src/graph/recorder.ts'
import { GraphSession, planned } from '../../src/graph/session.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { applyExpert } from '../../src/model/experts.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { rmsNorm } from '../../src/model/norm.ts'
import { applyRope } from '../../src/model/rope.ts'
import { routeTensors } from '../../src/model/router/tensors.ts'
import { asLoaded } from '../../src/model/weights.ts'
import { maxDifference } from '../helpers/golden.ts'
import { expertTensors, randomExpert, randomMatrix, randomNumbers } from '../helpers/random.ts'

// The graphs of a card, run by a processor, which has the same ops of TensorFlow's.
const plan: Plan = planFor({ rows: 1 }, { processor: null, onCard: true })

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

type Tensors = Record<string, tf.Tensor>

/** What `f` gives eagerly and as a card's graph, and the ops of that graph that `y` needs. */
function asCard(inputs: Tensors, f: (inputs: Tensors) => Tensors) {
  const before = tf.memory().numTensors
  const result = tf.tidy(() => {
    const zeros = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, tf.zerosLike(x)]))
    const recording = record(zeros, () => tf.tidy(() => f(zeros)), plan)
    const session = new GraphSession(recording, plan)
    const names = Object.keys(recording.outputs)
    const card = Object.fromEntries(session.run(inputs, names).map((x, i) => [names[i], [...x.dataSync()]]))
    session.dispose()
    const eager = Object.fromEntries(Object.entries(f(inputs)).map(([name, x]) => [name, [...x.dataSync()]]))
    return { card, eager, ops: needed(planned(recording, plan).nodes, recording.outputs.y.ref) }
  })
  expect(tf.memory().numTensors).toBe(before)
  return result
}

/** The ops that compute something on the way to `ref`, in order. */
function needed(nodes: { name: string; op: string; input: string[] }[], ref: string): string[] {
  const byName = new Map(nodes.map((node) => [node.name, node]))
  const found = new Set<string>()
  const visit = (name: string) => {
    const node = byName.get(name.split(':')[0])
    if (!node || found.has(node.name)) return
    found.add(node.name)
    node.input.forEach(visit)
  }
  visit(ref)
  const still = /^(Placeholder|Const|Reshape|Identity|Unpack|ExpandDims|VarHandleOp|ReadVariableOp)$/
  return nodes.filter(({ name, op }) => found.has(name) && !still.test(op)).map(({ op }) => op)
}

const next = randomNumbers(23)
const matrix = (rows: number, columns: number, scale?: number) =>
  tf.tensor2d(randomMatrix(rows, columns, next, scale))
const width = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(128, 255, 512))

/** Relative to the largest. */
function expectClose(actual: number[], expected: number[], tolerance = 2e-6): void {
  expect(actual.length).toBe(expected.length)
  const scale = Math.max(1e-30, ...expected.map(Math.abs))
  expect(maxDifference(Float32Array.from(actual), Float32Array.from(expected)) / scale).toBeLessThan(
    tolerance,
  )
}

describe('forms of one row', () => {
  test('the norm, whatever the size of its numbers', () => {
    fc.assert(
      fc.property(width, fc.constantFrom(1e-12, 1e-3, 1, 1e4), fc.constantFrom(1e-6, 1e-5), (D, scale, eps) =>
        tf.tidy(() => {
          const weight = matrix(1, D)
          const { card, eager, ops } = asCard({ x: matrix(1, D, scale), weight }, ({ x, weight }) => ({
            y: rmsNorm(x, tf.reshape(weight, [D]), eps),
          }))
          expectClose(card.y, eager.y)
          expect(ops).toEqual(['L2Loss', 'FusedBatchNormV3', 'Mul'])
        }),
      ),
      { numRuns: 30 },
    )
  })

  test('rotation of heads that rotate whole', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 40 }), (N, half) =>
        tf.tidy(() => {
          const of = () => tf.reshape(matrix(N, 2 * half), [1, 1, N, 2 * half]) as tf.Tensor4D
          const { card, eager, ops } = asCard({ x: of(), cos: of(), sin: of() }, ({ x, cos, sin }) => ({
            y: applyRope(x as tf.Tensor4D, {
              cos: cos as tf.Tensor4D,
              sin: sin as tf.Tensor4D,
              rotaryDim: 2 * half,
            }),
          }))
          expectClose(card.y, eager.y)
          expect(ops).toEqual(['Roll', 'Mul', 'FusedBatchNormV3'])
        }),
      ),
      { numRuns: 30 },
    )
  })

  test('one expert, for gates of any size', () => {
    fc.assert(
      fc.property(width, width, fc.constantFrom(1, 100), (D, H, scale) =>
        tf.tidy(() => {
          const inputs = { x: matrix(1, D, scale), gateUp: matrix(2 * H, D), down: matrix(D, H) }
          const { card, eager, ops } = asCard(inputs, ({ x, gateUp, down }) => {
            const weights = [gateUp, down].map((weight) => ({ weight: weight as tf.Tensor2D, bias: null }))
            return { y: applyExpert(x as tf.Tensor2D, { gateUp: weights[0], down: weights[1] }) }
          })
          expectClose(card.y, eager.y, 1e-5)
          expect(ops).toEqual(['MatMul', 'Mul', 'SoftplusGrad', 'MatMul'])
        }),
      ),
      { numRuns: 30 },
    )
  })
})

const router = (E: number, K: number) => softmaxTopK(E, K)

/** Logits [T, E] in which some are equal. */
const withTies = fc.integer({ min: 2, max: 12 }).chain((E) =>
  fc.record({
    E: fc.constant(E),
    K: fc.integer({ min: 1, max: Math.min(E, 4) }),
    rows: fc.array(fc.array(fc.constantFrom(-3, -0.5, 0, 0.25, 1, 2), { minLength: E, maxLength: E }), {
      minLength: 1,
      maxLength: 3,
    }),
  }),
)

test('routing chooses the same experts, ties to the lower index, with the same weights', () => {
  fc.assert(
    fc.property(withTies, ({ E, K, rows }) =>
      tf.tidy(() => {
        const { card, eager, ops } = asCard({ logits: tf.tensor2d(rows) }, ({ logits }) => {
          const rules = { config: router(E, K), scoreBias: null }
          const { expertIndices, expertWeights } = routeTensors(logits as tf.Tensor2D, rules)
          return { y: expertWeights, expertIndices }
        })
        expect(card.expertIndices).toEqual(eager.expertIndices)
        expectClose(card.y, eager.y)
        expect(ops).toEqual(E % 16 === 0 || 16 % E === 0 ? ['TopKV2', 'Softmax'] : expect.anything())
      }),
    ),
    { numRuns: 40 },
  )
})

test('a mixture layer of few assignments and the sum after it: the definition, by weights gathered once', () => {
  const sizes = fc.record({
    assignments: fc.constantFrom([1, 1], [1, 2], [1, 4], [2, 1], [2, 2], [4, 1]),
    D: fc.integer({ min: 1, max: 40 }),
    H: fc.integer({ min: 1, max: 40 }),
    spare: fc.integer({ min: 0, max: 4 }),
  })
  fc.assert(
    fc.property(sizes, ({ assignments: [T, K], D, H, spare }) =>
      tf.tidy(() => {
        const E = K + spare
        const layer = {
          kind: 'moe' as const,
          router: { weight: tf.tensor2d([[0]]), bias: null },
          scoreBias: null,
          ...asLoaded(Array.from({ length: E }, () => expertTensors(randomExpert(D, H, next)))),
        }
        const config = { kind: 'moe' as const, intermediateSize: H, router: router(E, K) }
        const { card, eager, ops } = asCard({ x: matrix(T, D), logits: matrix(T, E, 3) }, ({ x, logits }) => {
          const mixture = routeAndDispatch(x as tf.Tensor2D, logits as tf.Tensor2D, layer, config, 'gather')
          return { y: tf.add(x, mixture.output) }
        })
        expectClose(card.y, eager.y, 1e-5)
        expect(ops.filter((op) => op === 'GatherV2')).toHaveLength(2)
        expect(ops.filter((op) => op === 'StridedSlice')).toEqual([])
        expect(ops.includes('_FusedMatMul')).toBe(T === 1)
      }),
    ),
    { numRuns: 40 },
  )
})

test('a sum takes the place of a bias only where the product is of one row and nobody else reads it', () => {
  const of = (rows: number, shared: boolean) =>
    tf.tidy(
      () =>
        asCard({ x: matrix(rows, 6), w: matrix(6, 6), r: matrix(rows, 6) }, ({ x, w, r }) => {
          const product = tf.matMul(x, w)
          const sum = tf.add(r, product)
          return { y: shared ? tf.mul(sum, product) : sum }
        }).ops,
    )
  expect(of(1, false)).toEqual(['_FusedMatMul'])
  expect(of(1, true)).toContain('Add')
  expect(of(2, false)).toContain('Add')
})

test('scores that are wanted for themselves stay a softmax of all logits', () => {
  tf.tidy(() => {
    const { card, eager } = asCard({ logits: matrix(3, 8) }, ({ logits }) => {
      const scores = tf.softmax(logits)
      const { values } = tf.topk(scores, 2)
      return { y: tf.div(values, tf.sum(values, 1, true)), scores }
    })
    expectClose(card.scores, eager.scores)
    expectClose(card.y, eager.y)
  })
})
