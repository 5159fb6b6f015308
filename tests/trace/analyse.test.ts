import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { weightBytesPerToken } from '../../src/cost/bytes.ts'
import { expectedDistinct } from '../../src/cost/experts.ts'
import { startRuntime } from '../../src/device/index.ts'
import { InputError } from '../../src/errors.ts'
import { type LayerConfig, type ModelConfig, softmaxTopK } from '../../src/model/config.ts'
import { countTokens } from '../../src/model/router/route.ts'
import { joinTraces, type RoutingTrace } from '../../src/model/trace.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { analyse, cacheAnswer, capacityAnswers, weightsAnswer } from '../../src/trace/analyse.ts'
import { klDivergence, topKAnswers } from '../../src/trace/analyse-top-k.ts'
import { randomModel, randomTokens } from '../helpers/random.ts'

let model: MoeModel

beforeAll(async () => {
  await startRuntime({ device: 'js' })
  model = randomModel({ layers: 3 }) // E=4, K=2
})

/** A trace of one sequence with these choices: [layer][token][K]. */
function traceOf(layers: number[][][], E: number): RoutingTrace {
  const T = layers[0].length
  return {
    rows: Array.from({ length: T }, (_, position) => ({ sequence: 0, position, token: position })),
    layers: layers.map((choices, layer) => {
      const expertIndices = Int32Array.from(choices.flat())
      return {
        layer,
        numExperts: E,
        topK: choices[0].length,
        routerLogits: new Float32Array(T * E),
        scores: new Float32Array(T * E).fill(1 / E),
        expertIndices,
        expertWeights: new Float32Array(expertIndices.length).fill(1 / choices[0].length),
        tokensPerExpert: countTokens(expertIndices, E),
        margins: new Array(T).fill(0),
        entropies: new Float32Array(T),
      }
    }),
    hiddenStates: null,
  }
}

/** The small model's config with other layers. */
function configOf(layers: number, E: number, K: number): ModelConfig {
  const [{ attention }] = model.config.layers
  const layer: LayerConfig = {
    attention,
    feedForward: { kind: 'moe', intermediateSize: 24, router: softmaxTopK(E, K) },
  }
  return { ...model.config, layers: new Array(layers).fill(layer) }
}

function dropped(choices: number[][], E: number, batch = choices.length): Record<string, number> {
  const answers = capacityAnswers(traceOf([choices], E), configOf(1, E, choices[0].length), batch)
  return Object.fromEntries(answers.map(({ factor, dropped }) => [factor, dropped]))
}

function recorded(tokens: number[] | number[][], interventions = {}): RoutingTrace {
  const { logits, trace } = model.forward(tokens, { trace: true, interventions })
  logits.dispose()
  return trace as RoutingTrace
}

describe('capacity', () => {
  const uneven = [[0], [0], [0], [1]] // three tokens want expert 0

  test('four tokens, two experts, by hand', () => {
    // seats: factor x 4 / 2, rounded up: 1, 2, 2, 3, 3, 4, 6, 8
    expect(dropped(uneven, 2)).toEqual({
      0.5: 2 / 4,
      0.75: 1 / 4,
      1: 1 / 4,
      1.25: 0,
      1.5: 0,
      2: 0,
      3: 0,
      4: 0,
    })
  })

  test('in batches of two, each with seats of its own', () => {
    // tokens 0 and 1 share one seat of expert 0 up to factor 1; from 1.25 there are two
    expect(dropped(uneven, 2, 2)).toEqual({
      0.5: 1 / 4,
      0.75: 1 / 4,
      1: 1 / 4,
      1.25: 0,
      1.5: 0,
      2: 0,
      3: 0,
      4: 0,
    })
  })

  test('layers are told apart, and seats are named', () => {
    const trace = traceOf([uneven, [[0], [1], [0], [1]]], 2)
    const [, , balanced] = capacityAnswers(trace, configOf(2, 2, 1), 4)
    expect(balanced).toEqual({
      factor: 1,
      batch: 4,
      seats: [2, 2],
      dropped: 1 / 8,
      droppedByLayer: [1 / 4, 0],
    })
  })

  test('what the recorded run dropped is no assignment', () => {
    expect(
      dropped(
        [
          [0, 1],
          [0, -1],
          [0, 1],
        ],
        2,
      )[1],
    ).toBe(0)
    expect(
      dropped(
        [
          [0, 1],
          [0, -1],
          [0, 1],
        ],
        2,
      )[0.75],
    ).toBe(0)
    expect(
      dropped(
        [
          [0, 1],
          [0, -1],
          [0, 1],
        ],
        2,
      )[0.5],
    ).toBe(1 / 5) // two seats; expert 0 is wanted three times
  })

  test('a batch loses what is over the seats of each expert, less with every factor, nothing once all have a seat', () => {
    const choices = fc.integer({ min: 1, max: 30 }).chain((T) =>
      fc.array(fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 2, maxLength: 2 }), {
        minLength: T,
        maxLength: T,
      }),
    )
    fc.assert(
      fc.property(choices, (rows) => {
        const answers = capacityAnswers(traceOf([rows], 5), configOf(1, 5, 2), rows.length)
        answers.forEach(({ seats: [seats], dropped }, i) => {
          const loads = [0, 1, 2, 3, 4].map((e) => rows.flat().filter((expert) => expert === e).length)
          const over = loads.reduce((total, load) => total + Math.max(0, load - seats), 0)
          expect(dropped).toBeCloseTo(over / (2 * rows.length), 12)
          if (i > 0) expect(dropped).toBeLessThanOrEqual(answers[i - 1].dropped)
          if (seats >= rows.length) expect(dropped).toBe(0)
        })
      }),
    )
  })
})

test('caches: hit rates and bytes of two layers by hand', () => {
  const [first, second] = [
    [[0], [0], [1], [2], [0]],
    [[3], [3], [3], [3], [3]],
  ]
  const { sizes, layers } = cacheAnswer(traceOf([first, second], 4), configOf(2, 4, 1))
  expect(layers.map(({ requests, distinct }) => ({ requests, distinct }))).toEqual([
    { requests: 5, distinct: 3 },
    { requests: 5, distinct: 1 },
  ])
  expect(layers[0].hits.lru).toEqual([1, 1, 2, 2])
  expect(layers[1].hits.lru).toEqual([4, 4, 4, 4])
  const expert = 4 * 3 * 16 * 24 // bytes: gate, up and down of D=16, H=24
  expect(sizes[1].hitRate).toEqual({ lru: 5 / 10, lfu: 6 / 10, optimal: 6 / 10, static: 9 / 10 })
  expect(sizes[1].bytesPerToken.lru).toBe(expert) // five misses for five tokens
  expect(sizes[3].bytesPerToken).toEqual({
    lru: 0.8 * expert,
    lfu: 0.8 * expert,
    optimal: 0.8 * expert,
    static: 0,
  })
})

describe('weights', () => {
  test('experts touched by hand, whole batches only', () => {
    const trace = traceOf(
      [
        [
          [0, 1],
          [0, 1],
          [2, 3],
          [0, 1],
        ],
      ],
      4,
    )
    const touched = (tokens: number) => weightsAnswer(trace, configOf(1, 4, 2), tokens).expertsTouched[0]
    expect([1, 2, 3, 4].map(touched)).toEqual([2, (2 + 4) / 2, 4, 4])
  })

  test('one token reads its active weights, and dense the idle experts too', () => {
    const trace = recorded(randomTokens(5, 40, 1))
    const { bytesPerToken, denseBytesPerToken } = weightsAnswer(trace, model.config, 1)
    expect(bytesPerToken).toBe(weightBytesPerToken(model.config))
    expect(denseBytesPerToken - bytesPerToken).toBe(3 * (4 - 2) * 4 * 3 * 16 * 24) // layers, idle experts, bytes of one
  })

  test('the expectation is the mean over all ways to choose', () => {
    const pairs = [
      [0, 1],
      [0, 2],
      [1, 2],
    ]
    const all = pairs.flatMap((a) => pairs.map((b) => new Set([...a, ...b]).size))
    expect(expectedDistinct(3, 2, 2)).toBeCloseTo(all.reduce((x, y) => x + y, 0) / all.length, 12)
    expect(expectedDistinct(8, 2, 1)).toBe(2)
    expect(expectedDistinct(8, 2, 4)).toBe(8 * (1 - 0.75 ** 4))
    expect(expectedDistinct(4, 4, 1)).toBe(4)
  })
})

describe('another K', () => {
  const tokens = randomTokens(12, 40, 3)

  test('KL divergence in nats by hand', () => {
    const [half, quarter] = [
      [0, 0],
      [0, Math.log(3)],
    ].map((row) => Float32Array.from(row)) // 1/2 1/2 and 1/4 3/4
    expect(klDivergence(half, quarter)).toBeCloseTo(0.5 * Math.log(2) + 0.5 * Math.log(2 / 3), 6)
    expect(klDivergence(quarter, half)).toBeCloseTo(0.25 * Math.log(0.5) + 0.75 * Math.log(1.5), 6)
    expect(klDivergence(half, half)).toBe(0)
  })

  test('every number equals one computed anew from two runs', async () => {
    const run = (interventions = {}) => {
      const { logits, trace } = model.forward(tokens, { trace: true, interventions })
      const rows = logits.arraySync() as number[][]
      logits.dispose()
      const sets = trace!.layers.map(({ expertIndices, topK }) =>
        tokens.map((_, t) => [...expertIndices.slice(t * topK, (t + 1) * topK)]),
      )
      return { trace: trace!, rows, sets }
    }
    const softmax = (row: number[]) => row.map((z) => Math.exp(z) / row.reduce((a, v) => a + Math.exp(v), 0))
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length
    const before = run()
    const answers = await topKAnswers(model, before.trace)
    expect(answers.map(({ topK }) => topK)).toEqual([1, 2, 3, 4])
    for (const answer of answers) {
      const after = run({ topK: answer.topK })
      const shares = before.sets.map((sets, l) =>
        mean(
          sets.map((a, t) => {
            const b = after.sets[l][t]
            return a.filter((e) => b.includes(e)).length / new Set([...a, ...b]).size
          }),
        ),
      )
      const divergences = before.rows.map((row, t) => {
        const q = softmax(after.rows[t])
        return softmax(row).reduce((d, p, v) => d + p * Math.log(p / q[v]), 0)
      })
      const differences = before.rows.flatMap((row, t) => row.map((z, v) => Math.abs(z - after.rows[t][v])))
      const top = (row: number[]) => row.indexOf(Math.max(...row))
      const same = before.rows.filter((row, t) => top(row) === top(after.rows[t])).length / tokens.length
      answer.jaccardByLayer.forEach((value, l) => {
        expect(value).toBeCloseTo(shares[l], 12)
      })
      expect(answer.jaccardLater).toBeCloseTo(mean(shares.slice(1)), 12)
      expect(answer.sameTopToken).toBe(same)
      expect(answer.klMean).toBeCloseTo(mean(divergences), 6)
      expect(answer.klMax).toBeCloseTo(Math.max(...divergences), 6)
      expect(answer.logitChange).toBeCloseTo(Math.max(...differences), 6)
    }
  })

  test('the recorded K changes nothing; the first layer only grows or shrinks its sets', async () => {
    for (const answer of await topKAnswers(model, recorded(tokens))) {
      expect(answer.jaccardAtMost).toBe(Math.min(2, answer.topK) / Math.max(2, answer.topK))
      expect(answer.jaccardByLayer[0]).toBeCloseTo(answer.jaccardAtMost, 12)
      if (answer.topK !== 2) continue
      expect(answer).toMatchObject({ jaccardLater: 1, sameTopToken: 1, klMean: 0, klMax: 0, logitChange: 0 })
    }
  })

  test("other interventions stay, and a K that they leave no room for isn't tried", async () => {
    const interventions = { disable: [{ expert: 0 }], bias: [{ expert: 1, value: 0.5 }] }
    const answers = await topKAnswers(model, recorded(tokens, interventions), interventions)
    expect(answers.map(({ topK }) => topK)).toEqual([1, 2, 3])
    expect(answers[1]).toMatchObject({ jaccardLater: 1, logitChange: 0 })
    const replay = { replace: { by: 'trace' as const, trace: recorded(tokens) } }
    expect((await topKAnswers(model, recorded(tokens, replay), replay)).map(({ topK }) => topK)).toEqual([2])
  })

  test('sequences of a ragged batch, and a run through the cache, are run again each on its own', async () => {
    const batch = recorded([tokens, tokens.slice(0, 5)])
    const cache = model.createCache()
    const parts = [tokens.slice(0, 7), tokens.slice(7)].map((part) => {
      const { logits, trace } = model.forward(part, { cache, trace: true })
      logits.dispose()
      return trace as RoutingTrace
    })
    cache.dispose()
    for (const trace of [batch, joinTraces(parts)]) {
      expect((await topKAnswers(model, trace))[1]).toMatchObject({
        topK: 2,
        jaccardLater: 1,
        sameTopToken: 1,
      })
    }
  })
})

test('all answers together; no tensor is left behind', async () => {
  const trace = recorded(randomTokens(20, 40, 9))
  const before = tf.memory().numTensors
  const analysis = await analyse(model, trace, { batch: 4 })
  expect(tf.memory().numTensors).toBe(before)
  expect(analysis.tokens).toBe(20)
  expect(analysis.capacity.map(({ batch }) => batch)).toEqual([
    ...new Array(8).fill(20),
    ...new Array(8).fill(4),
  ])
  expect(analysis.weights.map(({ tokens }) => tokens)).toEqual([1, 4, 16, 20])
  expect(analysis.caches.sizes.map(({ size }) => size)).toEqual([1, 2, 3, 4])
  expect(JSON.parse(JSON.stringify(analysis))).toEqual(analysis)
})

test.each([
  [
    'another model',
    () => traceOf([[[0]], [[0]], [[0]]], 8),
    /experts \[0: 8, 1: 8, 2: 8\], expected the model's \[0: 4/,
  ],
  ['a missing layer', () => traceOf([[[0]]], 4), /experts \[0: 4\], expected/],
  ['no tokens', () => ({ ...traceOf([[[0]]], 4), rows: [] }), /no tokens/],
  ['a middle part', () => middle(recorded([1, 2, 3])), /sequence 0 has position 1 where 0 was expected/],
])('a trace of %s is one sentence', async (_, trace, message) => {
  await expect(analyse(model, trace())).rejects.toThrow(message)
  await expect(analyse(model, trace())).rejects.toBeInstanceOf(InputError)
})

/** The trace without its first row's place. */
function middle(trace: RoutingTrace): RoutingTrace {
  return { ...trace, rows: trace.rows.slice(1) }
}
