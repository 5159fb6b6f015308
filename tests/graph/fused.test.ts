import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { backend } from '../../src/backend/backend.ts'
import { LIMITS } from '../../src/backend/limits.ts'
import { activeTensorflow } from '../../src/backend/tensorflow.ts'
import type { TensorflowOps } from '../../src/backend/tensorflow-ops.ts'
import { startRuntime } from '../../src/device/index.ts'
import { type Plan, planFor } from '../../src/graph/plan.ts'
import { record } from '../../src/graph/recorder.ts'
import { grouped } from '../../src/model/attention/grouped.ts'
import { MASKED } from '../../src/model/attention/mask.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { applyExpert } from '../../src/model/experts.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { rmsNorm } from '../../src/model/norm.ts'
import { applyRope } from '../../src/model/rope.ts'
import { route } from '../../src/model/router/route.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { asLoaded } from '../../src/model/weights.ts'
import { groupedAttention } from '../helpers/attention.ts'
import { byKernels, NO_ROUTER } from '../helpers/by-kernels.ts'
import { maxDifference } from '../helpers/golden.ts'
import { expertTensors, randomExpert, randomMatrix, randomNumbers } from '../helpers/random.ts'
import { expertReference, moeReference, rmsNormReference } from '../helpers/reference.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu', threads: 2 })
})

const half = (rows: number) => planFor({ rows, dtype: 'bfloat16' })

const next = randomNumbers(17)
const matrix = (rows: number, columns: number) => tf.tensor2d(randomMatrix(rows, columns, next))
const size = fc.oneof(
  fc.integer({ min: 1, max: 70 }),
  fc.constantFrom(8, 16, 64, 127, 128, 129, 255, 512, 1023, 1024, 1030),
)

describe('products', () => {
  const forms: [
    string,
    (x: tf.Tensor2D, out: number, of: (r: number, c: number) => tf.Tensor2D) => tf.Tensor2D[],
    [boolean, boolean],
  ][] = [
    ['x W', (x, out, of) => [x, of(x.shape[1], out)], [false, false]],
    ['x W^T', (x, out, of) => [x, of(out, x.shape[1])], [false, true]],
    ['W x^T', (x, out, of) => [of(out, x.shape[1]), x], [false, true]],
    ['W x', (x, out, of) => [of(out, x.shape[1]), tf.transpose(x)], [false, false]],
  ]
  test.each(forms)(
    '%s of 1 to 16 rows and any sizes: as eager, the same FLOPs',
    (_, operands, [left, right]) => {
      fc.assert(
        fc.property(fc.integer({ min: 1, max: LIMITS.fewRows }), size, size, (rows, inner, out) => {
          tf.tidy(() => {
            const [a, b] = operands(matrix(rows, inner), out, matrix)
            const { kernels, actual, eager, flops } = byKernels({ a, b }, ({ a, b }) =>
              tf.matMul(a, b, left, right),
            )
            expect(kernels).toEqual(['TinymoeProduct'])
            expect(maxDifference(actual, eager)).toBeLessThan(1e-6 * inner + 1e-6)
            expect(flops).toEqual([2 * rows * inner * out, 2 * rows * inner * out])
          })
        }),
        { numRuns: 25 },
      )
    },
  )

  test('equal columns of weights give equal products wherever they stand, so that ties stay ties', () => {
    tf.tidy(() => {
      for (const columns of [2, 7, 16, 21]) {
        const column = matrix(300, 1)
        const { actual } = byKernels({ x: matrix(8, 300), w: tf.tile(column, [1, columns]) }, ({ x, w }) =>
          tf.matMul(x, w),
        )
        for (let row = 0; row < 8; row++) {
          expect(new Set(actual.subarray(row * columns, (row + 1) * columns)).size).toBe(1)
        }
      }
    })
  })

  test('a transposition before the product', () => {
    tf.tidy(() => {
      const inputs = { a: matrix(40, 3), b: matrix(40, 20) }
      const { kernels, actual, eager } = byKernels(inputs, ({ a, b }) => tf.matMul(tf.transpose(a), b))
      expect(kernels).toEqual(['TinymoeProduct'])
      expect(maxDifference(actual, eager)).toBeLessThan(1e-5)
    })
  })

  const left: [string, () => tf.Tensor[], boolean][] = [
    ['many rows and columns', () => [matrix(LIMITS.fewRows + 1, 8), matrix(8, LIMITS.fewRows + 1)], false],
    ['a left operand that is transposed', () => [matrix(8, 2), matrix(8, 3)], true],
    ['stacks', () => [tf.ones([2, 3, 4]), tf.ones([2, 4, 5])], false],
  ]
  test.each(left)('%s: left to TensorFlow', (_, operands, transposed) => {
    tf.tidy(() => {
      const [a, b] = operands()
      const { kernels, actual, eager } = byKernels({ a, b }, ({ a, b }) => tf.matMul(a, b, transposed))
      expect(kernels).toEqual([])
      expect(maxDifference(actual, eager)).toBeLessThan(1e-5)
    })
  })
})

test('they do not mind a TensorFlow that rewrites its own ops', async () => {
  const program = fileURLToPath(new URL('with-rewriter.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program], {
    env: { ...process.env, TF_ENABLE_ONEDNN_OPTS: '1' },
  })
  for (const difference of JSON.parse(stdout)) expect(difference).toBeLessThan(1e-5)
})

describe('experts', () => {
  const layers = fc
    .record({
      T: fc.integer({ min: 1, max: LIMITS.fewRows }),
      D: fc.integer({ min: 1, max: 40 }),
      H: fc.integer({ min: 1, max: 40 }),
      E: fc.integer({ min: 1, max: 9 }),
      seed: fc.nat(),
    })
    .chain((dims) => fc.record({ ...mapConstants(dims), K: fc.integer({ min: 1, max: dims.E }) }))

  test('the chosen ones in one kernel equal the definition, for any T, D, H, E and K', () => {
    fc.assert(
      fc.property(layers, (dims) => expectDefinition(dims)),
      { numRuns: 40 },
    )
  })

  test('so large that threads share them; E = 1; K = E', () => {
    expectDefinition({ T: 3, D: 130, H: 140, E: 4, K: 2, seed: 1 })
    expectDefinition({ T: 16, D: 128, H: 256, E: 3, K: 1, seed: 2 })
    expectDefinition({ T: 2, D: 64, H: 300, E: 1, K: 1, seed: 3 })
    expectDefinition({ T: 5, D: 96, H: 200, E: 3, K: 3, seed: 4 })
  })

  test('all tokens to one expert, and none to the others', () => {
    const toThird = Array.from({ length: 9 }, () => [0, -1, 5, -2])
    expectDefinition({ T: 9, D: 16, H: 24, E: 4, K: 1, seed: 5 }, toThird)
  })

  test('one expert for all rows equals the definition', () => {
    fc.assert(
      fc.property(layers, ({ T, D, H, seed }) => {
        const numbers = randomNumbers(seed)
        const [expert, x] = [randomExpert(D, H, numbers), randomMatrix(T, D, numbers)]
        tf.tidy(() => {
          const weights = expertTensors(expert)
          const { kernels, actual } = byKernels({ x: tf.tensor2d(x) }, ({ x }) =>
            applyExpert(x as tf.Tensor2D, weights),
          )
          expect(kernels).toContain('TinymoeExpert')
          expect(
            maxDifference(
              actual,
              x.flatMap((row) => expertReference(row, expert)),
            ),
          ).toBeLessThan(2e-5)
        })
      }),
      { numRuns: 20 },
    )
  })
})

test('without kernels, as on a card, a single token may choose other experts than the recording saw', () => {
  expectDefinition(
    { T: 1, D: 8, H: 12, E: 4, K: 2, seed: 9 },
    [[0, 5, -1, 4]],
    planFor({}, { processor: null }),
  )
})

interface LayerSizes {
  T: number
  D: number
  H: number
  E: number
  K: number
  seed: number
}

function mapConstants<X extends object>(x: X): { [name in keyof X]: fc.Arbitrary<X[name]> } {
  return Object.fromEntries(Object.entries(x).map(([name, value]) => [name, fc.constant(value)])) as never
}

/** A layer of random experts by every dispatch, as a graph with fused kernels, against the definition. */
function expectDefinition(
  { T, D, H, E, K, seed }: LayerSizes,
  logits?: number[][],
  plan: Plan = planFor({ rows: T }),
): void {
  const numbers = randomNumbers(seed)
  const experts = Array.from({ length: E }, () => randomExpert(D, H, numbers))
  const x = randomMatrix(T, D, numbers)
  const routerLogits = logits ?? randomMatrix(T, E, numbers, 3)
  const router = softmaxTopK(E, K)
  const expected = moeReference(x, experts, route(Float32Array.from(routerLogits.flat()), router))
  const config = { kind: 'moe' as const, intermediateSize: H, router }
  const few = T <= LIMITS.fewRows
  for (const dispatch of few ? DISPATCHES : (['sparse'] as const)) {
    tf.tidy(() => {
      const layer = { ...NO_ROUTER, ...asLoaded(experts.map(expertTensors)) }
      const context = { place: { layer: 0 } }
      const { kernels, actual } = byKernels(
        { x: tf.tensor2d(x), logits: tf.tensor2d(routerLogits) },
        ({ x, logits }) =>
          routeAndDispatch(x as tf.Tensor2D, logits as tf.Tensor2D, layer, config, dispatch, context).output,
        plan,
      )
      const whole = dispatch === 'dense' ? 'TinymoeExpert' : 'TinymoeExperts'
      if (plan.fused.has('experts')) expect(kernels).toContain(whole)
      else if (plan.fused.size > 0)
        expect(new Set(kernels)).toEqual(new Set(['TinymoeGated', 'TinymoeCombine']))
      expect(maxDifference(actual, expected.flat()), dispatch).toBeLessThan(3e-5)
    })
  }
}

describe('attention', () => {
  const sizes = fc.record({
    B: fc.integer({ min: 1, max: 3 }),
    T: fc.integer({ min: 1, max: 5 }),
    Nk: fc.integer({ min: 1, max: 3 }),
    G: fc.integer({ min: 1, max: 4 }),
    S: fc.integer({ min: 5, max: 70 }),
    d: fc.constantFrom(2, 6, 8, 16, 20),
    shared: fc.constantFrom('all', 'sequences', 'none'),
    seed: fc.nat(),
  })

  test('in one kernel it equals eager attention, whatever is masked, and where a row sees nothing it stays finite', () => {
    fc.assert(
      fc.property(sizes, ({ B, T, Nk, G, S, d, shared, seed }) => {
        const numbers = randomNumbers(seed)
        const random = <X extends tf.Tensor>(...shape: number[]) =>
          tf.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, numbers), shape) as X
        tf.tidy(() => {
          const rows = shared === 'all' ? 1 : G * T
          const sequences = shared === 'none' ? B : 1
          const hidden = tf.mul(
            tf.cast(tf.greater(random(sequences, 1, rows, S), 0.2), 'float32'),
            MASKED,
          ) as tf.Tensor4D
          const mask = tf.concat([tf.zeros([sequences, 1, rows, 1]), tf.slice(hidden, [0, 0, 0, 1])], 3) // the first is seen
          const inputs = {
            x: random(B * T, 12),
            keys: random(B, Nk, S, d),
            values: random(B, Nk, S, d),
            mask,
          }
          const { kernels, actual, eager } = byKernels(
            inputs,
            attentionOf({ B, T, N: G * Nk, Nk, d }, numbers),
          )
          expect(kernels.filter((op) => op === 'TinymoeAttention')).toHaveLength(1)
          expect(maxDifference(actual, eager)).toBeLessThan(1e-4)
          const blind = byKernels(
            { ...inputs, mask: tf.fill(mask.shape, MASKED) },
            attentionOf({ B, T, N: G * Nk, Nk, d }, numbers),
          )
          expect(blind.actual.every(Number.isFinite)).toBe(true)
        })
      }),
      { numRuns: 40 },
    )
  })
})

/** An attention layer over given keys and values. */
function attentionOf(
  { B, T, N, Nk, d }: { B: number; T: number; N: number; Nk: number; d: number },
  numbers: () => number,
) {
  const plain = (rows: number, columns: number) => ({
    weight: tf.tensor2d(randomMatrix(rows, columns, numbers)),
    bias: null,
  })
  const weights = { qkv: plain(12, (N + 2 * Nk) * d), output: plain(N * d, 12) }
  const config = groupedAttention({ numHeads: N, numKeyValueHeads: Nk, headDim: d })
  const table = (value: number) => tf.fill([B, T, 1, d], value) as tf.Tensor4D
  const still = { cos: table(1), sin: table(0) }
  return ({ x, keys, values, mask }: Record<string, tf.Tensor>) =>
    grouped.layers(config, {
      batch: B,
      length: T,
      positions: () => expect.unreachable(),
      rope: () => still,
      blocks: () => [{ tokens: T, cut: (all) => all, mask: mask as tf.Tensor4D }],
      cache: { append: () => [keys, values] as tf.Tensor4D[] },
      normEps: 1e-5,
    })(x as tf.Tensor2D, weights, 0)
}

test('RMSNorm in one kernel equals the definition, of rows of any length and of zeros', () => {
  for (const [rows, D] of [
    [1, 1],
    [2, 7],
    [3, 8],
    [16, 33],
    [1, 520],
  ]) {
    tf.tidy(() => {
      const x = randomMatrix(rows, D, next)
      x[0].fill(0)
      const weight = randomMatrix(1, D, next)[0]
      const { kernels, actual } = byKernels(
        { x: tf.tensor2d(x), weight: tf.tensor1d(weight) },
        ({ x, weight }) => rmsNorm(x, weight as tf.Tensor1D, 1e-6),
      )
      expect(kernels).toEqual(['TinymoeRmsNorm'])
      expect(
        maxDifference(
          actual,
          x.flatMap((row) => rmsNormReference(row, weight, 1e-6)),
        ),
      ).toBeLessThan(1e-5)
    })
  }
})

test('rotary tables are applied in one kernel, of all channels or a part, shared by all sequences or each with its own', () => {
  for (const [B, T, N, d, rotaryDim, tables] of [
    [1, 1, 3, 8, 8, 1],
    [2, 3, 2, 10, 4, 2],
    [2, 5, 4, 16, 16, 1],
    [3, 40, 5, 20, 12, 3],
  ]) {
    tf.tidy(() => {
      const random = (sequences: number) =>
        tf.tensor4d(randomMatrix(1, sequences * T * N * d, next)[0], [sequences, T, N, d])
      const inputs = { x: random(B), cos: random(tables), sin: random(tables) }
      const { kernels, actual, eager } = byKernels(inputs, ({ x, cos, sin }) =>
        applyRope(x as tf.Tensor4D, { cos: cos as tf.Tensor4D, sin: sin as tf.Tensor4D, rotaryDim }),
      )
      expect(kernels).toEqual(['TinymoeRope'])
      expect(maxDifference(actual, eager)).toBeLessThan(1e-6)
    })
  }
})

describe('many rows', () => {
  const layers = fc.record({
    T: fc.integer({ min: LIMITS.fewRows + 1, max: 150 }),
    D: fc.integer({ min: 1, max: 70 }),
    H: fc.integer({ min: 1, max: 50 }),
    E: fc.integer({ min: 1, max: 9 }),
    K: fc.constant(1),
    seed: fc.nat(),
  })

  const dims = fc
    .tuple(layers, fc.integer({ min: 1, max: 9 }))
    .map(([dims, K]) => ({ ...dims, K: Math.min(K, dims.E) }))

  test('experts in one kernel, in a part for each thread, equal the definition', () => {
    fc.assert(
      fc.property(dims, (sizes) => expectDefinition(sizes)),
      { numRuns: 25 },
    )
    expectDefinition({ T: 100, D: 48, H: 33, E: 3, K: 2, seed: 7 }) // groups of more than 16 rows, an odd H in two parts
    const toThird = Array.from({ length: 40 }, () => [0, -1, 5, -2])
    expectDefinition({ T: 40, D: 16, H: 24, E: 4, K: 1, seed: 8 }, toThird)
  })

  test('gates and the sums of what experts made, each in one kernel, equal the definition', () => {
    fc.assert(
      fc.property(dims, (sizes) => expectDefinition(sizes, undefined, half(sizes.T))),
      { numRuns: 25 },
    )
  })

  test('large values saturate as they do in TensorFlow', () => {
    tf.tidy(() => {
      const both = tf.tensor2d([[-200, -100, -88, -20, 0, 20, 88, 100, 200, 1e30], new Array(10).fill(3)])
      const ops = backend().ops as TensorflowOps
      const identity = tf.eye(2) as tf.Tensor2D
      // Gate above up: x^T through the identity.
      const f = ({ x }: Record<string, tf.Tensor>) => ops.swiglu(x as tf.Tensor2D, identity, tf.ones([1, 1]))
      const { kernels, actual, eager } = byKernels({ x: tf.transpose(both) }, f)
      expect(kernels).toContain('TinymoeGated')
      for (const [i, value] of eager.entries()) expect(actual[i]).toBeCloseTo(value, 4)
    })
  })
})

test('a recording notes the kernels for its number of rows, and nobody is told any more once it has ended, well or not', () => {
  const listening = () => activeTensorflow().onFused !== undefined
  const [x, weight] = [matrix(2, 4), tf.ones<tf.Rank.R1>([4])]
  const [gateUp, down] = [matrix(6, 4), matrix(4, 3)].map((of) => ({ weight: of, bias: null }))
  const seen: boolean[] = []
  const build = () => {
    seen.push(listening())
    return { y: applyExpert(rmsNorm(x, weight, 1e-6), { gateUp, down }) }
  }
  const noted = (options?: Pick<Plan, 'fused'>) =>
    [...(record({ x }, build, options).fused?.values() ?? [])].map(({ op }) => op)
  expect(noted()).toEqual([])
  expect(noted(planFor({ rows: 1 }, { processor: null }))).toEqual([])
  const by = (tiles: boolean) =>
    planFor({ rows: 17 }, { processor: { threads: 2, features: [], tiles, pairs: false } })
  expect(noted(by(false))).toEqual(['TinymoeRmsNorm'])
  expect(noted(by(true))).toEqual(['TinymoeRmsNorm', 'TinymoeExpert'])
  expect(noted(half(17))).toEqual(['TinymoeRmsNorm'])
  expect(noted(planFor({ rows: 16 }))).toEqual(['TinymoeRmsNorm', 'TinymoeExpert'])
  const fails = () => {
    throw new Error('no graph')
  }
  expect(() => record({ x }, fails, planFor({ rows: 1 }))).toThrow('no graph')
  expect([...seen, listening()]).toEqual([true, true, true, true, true, true, false])
  tf.dispose([x, weight, gateUp.weight, down.weight])
})
