import fc from 'fast-check'
import { countTokens } from '../../src/model/router/route.ts'
import type { LayerTrace, RoutingTrace } from '../../src/model/trace.ts'

/** A layer's trace from readable rows; what is left out is made up plainly. */
export function layerOf({
  layer = 0,
  scores,
  experts,
  weights,
  margins,
}: {
  layer?: number
  scores: number[][]
  experts: number[][]
  weights?: number[][]
  margins?: (number | null)[]
}): LayerTrace {
  const E = scores[0].length
  const K = experts[0].length
  const expertIndices = Int32Array.from(experts.flat())
  return {
    layer,
    numExperts: E,
    topK: K,
    routerLogits: Float32Array.from(scores.flat(), Math.log),
    scores: Float32Array.from(scores.flat()),
    expertIndices,
    expertWeights: Float32Array.from((weights ?? experts.map((row) => row.map(() => 1 / K))).flat()),
    tokensPerExpert: countTokens(expertIndices, E),
    margins: margins ?? experts.map(() => 0.5),
    entropies: Float32Array.from(experts, () => Math.log(E)),
  }
}

/** Tokens 10, 11, ... of one sequence. */
export function rowsOf(T: number, sequence = 0) {
  return Array.from({ length: T }, (_, position) => ({ sequence, position, token: 10 + position }))
}

/** The trace of three tokens over two layers of four experts, K = 2, with one assignment dropped. */
export function smallTrace(): RoutingTrace {
  const first = layerOf({
    scores: [
      [0.5, 0.25, 0.125, 0.125],
      [0.25, 0.5, 0.125, 0.125],
      [0.125, 0.125, 0.5, 0.25],
    ],
    experts: [
      [0, 1],
      [1, 0],
      [2, 3],
    ],
    weights: [
      [0.75, 0.25],
      [0.5, 0.5],
      [0.9, 0.1],
    ],
  })
  const second = layerOf({
    layer: 1,
    scores: [
      [0.5, 0.25, 0.125, 0.125],
      [0.5, 0.25, 0.125, 0.125],
      [0.5, 0.125, 0.25, 0.125],
    ],
    experts: [
      [0, 1],
      [0, 1],
      [-1, 2],
    ],
    weights: [
      [0.6, 0.4],
      [0.6, 0.4],
      [0, 0.4],
    ],
    margins: [0.125, 0.125, null],
  })
  return { rows: rowsOf(3), layers: [first, second], hiddenStates: null }
}

const float = fc.float({ noNaN: true, noDefaultInfinity: true })
const score = fc.oneof(float, fc.constantFrom(Number.NEGATIVE_INFINITY, -0, 1e-45, 3.4028234663852886e38))

/** Any trace that holds together, odd numbers included. */
export const anyTrace: fc.Arbitrary<RoutingTrace> = fc
  .record({
    T: fc.integer({ min: 1, max: 5 }),
    L: fc.integer({ min: 1, max: 3 }),
    E: fc.integer({ min: 1, max: 6 }),
    hidden: fc.boolean(),
  })
  .chain(({ T, L, E, hidden }) =>
    fc.record({
      rows: fc.array(fc.record({ sequence: fc.nat(3), position: fc.nat(), token: fc.nat(200_000) }), {
        minLength: T,
        maxLength: T,
      }),
      layers: fc
        .array(anyLayer(T, E), { minLength: L, maxLength: L })
        .map((layers) => layers.map((layer, i) => ({ ...layer, layer: 2 * i }))),
      hiddenStates: hidden ? anyHiddenStates(T, L) : fc.constant(null),
    }),
  )

function anyLayer(T: number, E: number): fc.Arbitrary<LayerTrace> {
  const experts = Array.from({ length: E }, (_, e) => e)
  return fc.integer({ min: 1, max: E }).chain((topK) =>
    fc
      .record({
        layer: fc.constant(0),
        numExperts: fc.constant(E),
        topK: fc.constant(topK),
        routerLogits: floats(T * E, float),
        scores: floats(T * E, score),
        expertIndices: fc
          .array(
            fc
              .tuple(
                fc.shuffledSubarray(experts, { minLength: topK, maxLength: topK }),
                fc.array(fc.boolean(), { minLength: topK, maxLength: topK }),
              )
              .map(([row, dropped]) => row.map((e, k) => (dropped[k] ? -1 : e))),
            { minLength: T, maxLength: T },
          )
          .map((rows) => Int32Array.from(rows.flat())),
        expertWeights: floats(T * topK, float),
        margins: fc.array(fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })), {
          minLength: T,
          maxLength: T,
        }),
        entropies: floats(T, float),
      })
      .map((layer) => ({ ...layer, tokensPerExpert: countTokens(layer.expertIndices, E) })),
  )
}

function anyHiddenStates(T: number, L: number) {
  const state = floats(T * 3, score)
  return fc.record({
    embed: state,
    layers: fc.array(fc.record({ attention: state, feedForward: state, output: state }), {
      minLength: L,
      maxLength: L,
    }),
    finalNorm: state,
  })
}

function floats(length: number, value: fc.Arbitrary<number>): fc.Arbitrary<Float32Array> {
  return fc.array(value, { minLength: length, maxLength: length }).map((values) => Float32Array.from(values))
}
