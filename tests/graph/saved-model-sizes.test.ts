import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { type GraphNode, shapeProto } from '../../src/graph/protobuf.ts'
import { constant } from '../../src/graph/recorder.ts'
import { GraphBuilder, type } from '../../src/graph/saved-model-builder.ts'
import type { Sizes } from '../../src/graph/saved-model-record.ts'
import { RECORDED_SIZES, withFreeSizes } from '../../src/graph/saved-model-sizes.ts'
import { GraphSession } from '../../src/graph/session.ts'

beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
})

const SIZES = { batch: 'B', tokens: 'T', past: 'S' }

/** The graph of the recordings that `nodesAt` makes, with B, T and S fed: the values of its node `x`. */
function evaluator(nodesAt: (sizes: Sizes) => GraphNode[]) {
  const graph = new GraphBuilder('test')
  for (const name of Object.values(SIZES)) {
    graph.node('Placeholder', [], { dtype: type('int32'), shape: { shape: shapeProto([]) } }, name)
  }
  const nodes = withFreeSizes(RECORDED_SIZES.map(nodesAt), graph, SIZES)
  const inputs = Object.fromEntries(Object.values(SIZES).map((name) => [name, tf.scalar(0, 'int32')]))
  const session = new GraphSession({
    nodes: [...graph.nodes, ...nodes],
    inputs,
    outputs: { x: { ref: 'x', shape: [], dtype: 'int32' } },
    products: [],
    variables: [],
  })
  return {
    at: ({ batch, tokens, past }: Sizes) =>
      tf.tidy(() => {
        const fed = { B: batch, T: tokens, S: past }
        const scalars = Object.entries(fed).map(([name, size]) => [name, tf.scalar(size, 'int32')])
        const [x] = session.run(Object.fromEntries(scalars), ['x'])
        return { shape: x.shape, values: [...x.dataSync()] }
      }),
    dispose: () => session.dispose(),
  }
}

function numbers(shape: number[], values: number[]): GraphNode[] {
  return [constant('x', 'int32', shape, Int32Array.from(values))]
}

test('whole numbers that are sums of products of the sizes are computed at any size', () => {
  const coefficients = fc.array(fc.integer({ min: -9, max: 9 }), { minLength: 8, maxLength: 8 })
  const sizes = fc.record({
    batch: fc.integer({ min: 0, max: 40 }),
    tokens: fc.integer({ min: 0, max: 600 }),
    past: fc.integer({ min: 0, max: 600 }),
  })
  const products = ({ batch: B, tokens: T, past: S }: Sizes) => [1, B, T, B * T, S, B * S, T * S, B * T * S]
  const at = (weights: number[], size: Sizes) =>
    products(size).reduce((sum, product, i) => sum + product * weights[i], 0)
  fc.assert(
    fc.property(fc.tuple(coefficients, coefficients), sizes, (rows, size) => {
      const graph = evaluator((recorded) => numbers([3], [at(rows[0], recorded), 5, at(rows[1], recorded)]))
      expect(graph.at(size)).toEqual({
        shape: [3],
        values: [at(rows[0], size) | 0, 5, at(rows[1], size) | 0],
      })
      graph.dispose()
    }),
    { numRuns: 12, seed: 1 },
  )
})

test.each([[[]], [[1]], [[2, 1]]])('a constant keeps its shape %j', (shape) => {
  const count = shape.reduce((a, b) => a * b, 1)
  const graph = evaluator(({ tokens }) => numbers(shape, new Array(count).fill(2 * tokens)))
  expect(graph.at({ batch: 1, tokens: 50, past: 0 })).toEqual({ shape, values: new Array(count).fill(100) })
  graph.dispose()
})

test('zeros and ones of a shape that depends on the sizes are filled in at any size', () => {
  const graph = evaluator(({ batch, tokens, past }) => {
    const shape = [batch, 2, tokens + past]
    return numbers(shape, new Array(shape[0] * shape[1] * shape[2]).fill(7))
  })
  expect(graph.at({ batch: 1, tokens: 2, past: 1 })).toEqual({
    shape: [1, 2, 3],
    values: new Array(6).fill(7),
  })
  expect(graph.at({ batch: 4, tokens: 0, past: 0 })).toEqual({ shape: [4, 2, 0], values: [] })
  graph.dispose()
  const other = ({ tokens }: Sizes) => numbers([tokens], new Array(tokens).fill(tokens > 9 ? 1 : 2))
  expect(() => evaluator(other)).toThrow('depends on the sizes in another way')
})

test('what depends on the sizes in another way is an error that names the node', () => {
  const failing = (nodesAt: (sizes: Sizes) => GraphNode[]) => () => evaluator(nodesAt)
  expect(failing(({ tokens }) => numbers([1], [tokens * tokens]))).toThrow(
    'a number of x is no sum of products',
  )
  expect(failing(({ tokens }) => numbers([1], [Math.floor(tokens / 2)]))).toThrow('x is no sum of products')
  expect(failing(({ tokens }) => numbers([tokens], [...new Array(tokens).keys()]))).toThrow(
    'the Const x depends',
  )
  expect(failing(({ tokens }) => [constant('x', 'float32', [1], Float32Array.of(tokens))])).toThrow(
    'the Const x',
  )
  expect(failing(({ batch }) => numbers([1], [1]).slice(0, batch > 2 ? 1 : 0))).toThrow('more nodes for some')
  const renamed = ({ tokens }: Sizes) => [{ ...numbers([1], [1])[0], op: tokens > 8 ? 'Const' : 'Other' }]
  expect(failing(renamed)).toThrow('depends on the sizes')
})
