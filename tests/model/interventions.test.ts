import * as tf from '@tensorflow/tfjs-core'
import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { softmaxTopK } from '../../src/model/config.ts'
import { expertCapacity } from '../../src/model/router/capacity.ts'
import { interventionFor, interventionsByLayer } from '../../src/model/router/interventions.ts'
import { route } from '../../src/model/router/route.ts'
import type { Interventions, Routing } from '../../src/model/router/types.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { maxDifference } from '../helpers/golden.ts'
import { randomModel, randomNumbers, randomTokens } from '../helpers/random.ts'
import { moeReference } from '../helpers/reference.ts'

const E = 6
const K = 2
const config = softmaxTopK(E, K)

function logitRows(T: number, seed: number): number[][] {
  const next = randomNumbers(seed)
  return Array.from({ length: T }, () => Array.from({ length: E }, () => Math.fround(next() * 3)))
}

function routed(rows: number[][], interventions: Interventions): Routing {
  return route(Float32Array.from(rows.flat()), config, {
    intervention: interventionFor(interventions, config, 0),
  })
}

/** Mixtral's rule for one token, written anew: softmax over the experts left, best k, divided by their sum. */
function definition(
  logits: number[],
  k: number,
  allowed = logits.map((_, e) => e),
): [expert: number, weight: number][] {
  const exps = allowed.map((e) => [e, Math.exp(logits[e])] as [number, number])
  const best = exps.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, k)
  const sum = best.reduce((total, [, x]) => total + x, 0)
  return best.map(([e, x]) => [e, x / sum])
}

function expectChoices(routing: Routing, expected: [number, number][][]): void {
  expect([...routing.expertIndices]).toEqual(expected.flat().map(([e]) => e))
  expect(
    maxDifference(
      routing.expertWeights,
      expected.flat().map(([, w]) => w),
    ),
  ).toBeLessThan(1e-6)
}

const rowsAndSeed = fc.record({ T: fc.integer({ min: 1, max: 8 }), seed: fc.nat() })

describe('each intervention against its definition', () => {
  test('topK', () => {
    fc.assert(
      fc.property(rowsAndSeed, fc.integer({ min: 1, max: E }), ({ T, seed }, topK) => {
        const rows = logitRows(T, seed)
        expectChoices(
          routed(rows, { topK }),
          rows.map((z) => definition(z, topK)),
        )
      }),
    )
  })

  test('temperature divides the logits', () => {
    fc.assert(
      fc.property(rowsAndSeed, fc.double({ min: 0.3, max: 5, noNaN: true }), ({ T, seed }, temperature) => {
        const rows = logitRows(T, seed)
        expectChoices(
          routed(rows, { temperature }),
          rows.map((z) =>
            definition(
              z.map((v) => v / temperature),
              K,
            ),
          ),
        )
      }),
    )
  })

  test('disabled experts are as if the layer had never had them', () => {
    fc.assert(
      fc.property(rowsAndSeed, fc.subarray([0, 1, 2, 3, 4, 5], { maxLength: E - K }), ({ T, seed }, off) => {
        const rows = logitRows(T, seed)
        const left = [0, 1, 2, 3, 4, 5].filter((e) => !off.includes(e))
        const disable = off.map((expert) => ({ expert }))
        expectChoices(
          routed(rows, { disable }),
          rows.map((z) => definition(z, K, left)),
        )
      }),
    )
  })

  test('a bias moves the choice and leaves the weights to the scores', () => {
    const [z] = [[2, 1, 0, -1, -2, -3]]
    const routing = routed([z], { bias: [{ expert: 5, value: 1 }] }) // softmax scores are below 1, so 5 comes first
    const sum = Math.exp(z[5]) + Math.exp(z[0])
    expectChoices(routing, [
      [
        [5, Math.exp(z[5]) / sum],
        [0, Math.exp(z[0]) / sum],
      ],
    ])
  })

  test('a bias for any experts: best k of softmax plus bias, weights from the softmax alone', () => {
    const biases = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: E, maxLength: E })
    fc.assert(
      fc.property(rowsAndSeed, biases, ({ T, seed }, values) => {
        const rows = logitRows(T, seed)
        const expected = rows.map((z) => {
          const total = z.reduce((sum, v) => sum + Math.exp(v), 0)
          const compared = z.map((v, e) => Math.exp(v) / total + values[e])
          const best = [...compared.keys()].sort((a, b) => compared[b] - compared[a]).slice(0, K)
          const sum = best.reduce((x, e) => x + Math.exp(z[e]), 0)
          return best.map((e): [number, number] => [e, Math.exp(z[e]) / sum])
        })
        expectChoices(routed(rows, { bias: values.map((value, expert) => ({ expert, value })) }), expected)
      }),
    )
  })

  test('any forced experts come first, the best of the others fill up', () => {
    const chosen = fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 1, maxLength: K })
    fc.assert(
      fc.property(rowsAndSeed, chosen, ({ T, seed }, experts) => {
        const rows = logitRows(T, seed)
        const expected = rows.map((z, t) => {
          if (t !== T - 1) return definition(z, K)
          const others = [0, 1, 2, 3, 4, 5].filter((e) => !experts.includes(e)).sort((a, b) => z[b] - z[a])
          const all = [...experts, ...others].slice(0, K)
          const sum = all.reduce((x, e) => x + Math.exp(z[e]), 0)
          return all.map((e): [number, number] => [e, Math.exp(z[e]) / sum])
        })
        expectChoices(routed(rows, { force: [{ position: T - 1, experts }] }), expected)
      }),
    )
  })

  test('a forced token goes where it is sent, weighed by its own scores; others are left alone', () => {
    const rows = logitRows(3, 11)
    const force = [{ position: 1, experts: [4] }]
    const others = definition(rows[1], E)
      .map(([e]) => e)
      .filter((e) => e !== 4)
    const pair = [4, others[0]]
    const sum = pair.reduce((total, e) => total + Math.exp(rows[1][e]), 0)
    expectChoices(routed(rows, { force }), [
      definition(rows[0], K),
      pair.map((e) => [e, Math.exp(rows[1][e]) / sum]),
      definition(rows[2], K),
    ])
  })

  test('round-robin: token after token, expert after expert, equal weights', () => {
    const routing = routed(logitRows(4, 3), { replace: { by: 'round-robin' } })
    expect([...routing.expertIndices]).toEqual([0, 1, 2, 3, 4, 5, 0, 1])
    expect([...routing.expertWeights]).toEqual(new Array(8).fill(0.5))
    const without2 = routed(logitRows(3, 3), { replace: { by: 'round-robin' }, disable: [{ expert: 2 }] })
    expect([...without2.expertIndices]).toEqual([0, 1, 3, 4, 5, 0])
  })

  test('random: distinct, seeded, spread evenly, blind to the logits', () => {
    const rows = logitRows(3000, 5)
    const random = routed(rows, { replace: { by: 'random', seed: 7 } })
    expect([...random.expertIndices]).toEqual([
      ...routed(logitRows(3000, 6), { replace: { by: 'random', seed: 7 } }).expertIndices,
    ])
    expect([...random.expertIndices]).not.toEqual([
      ...routed(rows, { replace: { by: 'random', seed: 8 } }).expertIndices,
    ])
    for (let t = 0; t < 3000; t++)
      expect(random.expertIndices[2 * t]).not.toBe(random.expertIndices[2 * t + 1])
    for (const count of random.tokensPerExpert) expect(Math.abs(count - 1000)).toBeLessThan(120) // 4 standard deviations
  })
})

describe('capacity', () => {
  test('is ceil(factor T K / E) and at least one', () => {
    expect(expertCapacity(1, 6, 2, 6)).toBe(2)
    expect(expertCapacity(1.25, 6, 2, 6)).toBe(3)
    expect(expertCapacity(0.01, 6, 2, 6)).toBe(1)
    expect(expertCapacity(1.1, 90, 2, 6)).toBe(33) // in float64 1.1 x 90 x 2 / 6 is a little above 33
  })

  /** Everyone's first choice is expert 0, second choice expert 1. */
  const crowd = Array.from({ length: 4 }, () => [5, 4, 3, 2, 1, 0])

  test('drop: the first come are seated, the rest lose that expert and its weight', () => {
    const [[first, w0], [second, w1]] = definition(crowd[0], K)
    const routing = routed(crowd, { capacity: { factor: 1.5, policy: 'drop' } }) // ceil(1.5 * 4 * 2 / 6) = 2
    expectChoices(routing, [
      [
        [first, w0],
        [second, w1],
      ],
      [
        [first, w0],
        [second, w1],
      ],
      [
        [-1, 0],
        [-1, 0],
      ],
      [
        [-1, 0],
        [-1, 0],
      ],
    ])
    expect([...routing.tokensPerExpert]).toEqual([2, 2, 0, 0, 0, 0])
  })

  test('next-best: what does not fit moves to the best expert with room', () => {
    const [[, w0], [, w1]] = definition(crowd[0], K)
    const routing = routed(crowd, { capacity: { factor: 1.5, policy: 'next-best' } })
    // First choices: 0 0 then 0 is full; tokens 2 and 3 take 2 (1 is their own second choice). Second choices: 1 1,
    // then 1 is full and 2 is full, so 3 and 3.
    expectChoices(routing, [
      [
        [0, w0],
        [1, w1],
      ],
      [
        [0, w0],
        [1, w1],
      ],
      [
        [2, w0],
        [3, w1],
      ],
      [
        [2, w0],
        [3, w1],
      ],
    ])
  })

  test('none: the limit is known and nothing is changed', () => {
    expectChoices(
      routed(crowd, { capacity: { factor: 0.5, policy: 'none' } }),
      crowd.map((z) => definition(z, K)),
    )
  })

  test.each(['drop', 'next-best'] as const)(
    '%s: every token sits where a plain count of seats puts it',
    (policy) => {
      fc.assert(
        fc.property(rowsAndSeed, fc.constantFrom(0.25, 0.5, 1, 1.25), ({ T, seed }, factor) => {
          const rows = logitRows(T, seed)
          const free = new Array<number>(E).fill(Math.max(1, Math.ceil((factor * T * K) / E)))
          const wanted = rows.map((z) => definition(z, K))
          const seats = rows.map((): [number, number][] => [])
          for (const rank of [0, 1]) {
            rows.forEach((z, t) => {
              const [first, weight] = wanted[t][rank]
              const mine = [...wanted[t], ...seats[t]].map(([e]) => e)
              const others =
                policy === 'drop'
                  ? []
                  : definition(z, E)
                      .map(([e]) => e)
                      .filter((e) => !mine.includes(e))
              const seat = [first, ...others].find((e) => free[e] > 0)
              seats[t].push(seat === undefined ? [-1, 0] : [seat, weight])
              if (seat !== undefined) free[seat]--
            })
          }
          expectChoices(routed(rows, { capacity: { factor, policy } }), seats)
        }),
      )
    },
  )

  test('no expert ever has more than its capacity, and first choices come before second ones', () => {
    fc.assert(
      fc.property(
        rowsAndSeed,
        fc.constantFrom(0.5, 1, 1.5),
        fc.constantFrom('drop', 'next-best'),
        ({ T, seed }, factor, policy) => {
          const { tokensPerExpert, expertIndices, expertWeights } = routed(logitRows(T, seed), {
            capacity: { factor, policy: policy as 'drop' },
          })
          const capacity = expertCapacity(factor, T, K, E)
          for (const count of tokensPerExpert) expect(count).toBeLessThanOrEqual(capacity)
          expertIndices.forEach((e, i) => {
            if (e < 0) expect(expertWeights[i]).toBe(0)
          })
          for (let t = 0; t < T; t++) {
            const own = [...expertIndices.subarray(t * K, t * K + K)].filter((e) => e >= 0)
            expect(new Set(own).size).toBe(own.length)
          }
        },
      ),
    )
  })
})

describe('through a model', () => {
  const tokens = randomTokens(9, 40, 3)
  let model: MoeModel
  beforeAll(async () => {
    await startRuntime({ device: 'cpu' })
    model = randomModel({ E, K, layers: 2 })
  })

  /** Every intervention there is; K and the disabled experts differ from the model's own. */
  const ALL: Record<string, Interventions> = {
    topK: { topK: 3 },
    temperature: { temperature: 2 },
    disable: { disable: [{ expert: 0 }, { expert: 3, layer: 1 }] },
    bias: { bias: [{ expert: 2, value: 0.4 }] },
    force: { force: [{ position: 4, experts: [5, 1] }] },
    random: { replace: { by: 'random', seed: 4 } },
    'round-robin': { replace: { by: 'round-robin' } },
    'capacity drop': { capacity: { factor: 0.5, policy: 'drop' } },
    'capacity next-best': { capacity: { factor: 1, policy: 'next-best' } },
  }

  test.each(Object.entries(ALL))(
    '%s shows in the trace, changes the logits, and every dispatch follows it',
    (_, interventions) => {
      const plain = run(model, tokens, {})
      const runs = DISPATCHES.map((dispatch) => run(model, tokens, { interventions, dispatch }))
      expect(maxDifference(runs[0].logits, plain.logits)).toBeGreaterThan(1e-4)
      for (const other of runs.slice(1)) {
        expect(maxDifference(other.logits, runs[0].logits)).toBeLessThan(3e-5)
        expect(other.trace.layers.map((l) => [...l.expertIndices])).toEqual(
          runs[0].trace.layers.map((l) => [...l.expertIndices]),
        )
      }
      for (const layer of runs[0].trace.layers) {
        const own = interventionFor(interventions, softmaxTopK(E, K), layer.layer)
        const expected = route(layer.routerLogits, softmaxTopK(E, K), {
          intervention: own,
          place: { layer: layer.layer, rows: runs[0].trace.rows },
        })
        expect([...layer.expertIndices]).toEqual([...expected.expertIndices])
        expect(layer.topK).toBe(interventions.topK ?? K)
      }
    },
  )

  test('the layer computes what the trace says, dropped assignments left out', () => {
    const interventions: Interventions = { capacity: { factor: 0.5, policy: 'drop' } }
    const { trace } = run(model, tokens, { interventions, trace: { hiddenStates: true } })
    expect(trace.layers[0].expertIndices.includes(-1)).toBe(true)
    const block = model.weights.blocks[0].feedForward
    if (block.kind !== 'moe') throw new Error('expected a mixture')
    const experts = block.experts.map(({ gateUp, down }) => {
      const both = gateUp.weight.arraySync()
      const H = both.length / 2
      const columns = (rows: number[][]) => rows[0].map((_, d) => rows.map((row) => row[d])) // [out, in] -> [in, out]
      return {
        gate: columns(both.slice(0, H)),
        up: columns(both.slice(H)),
        down: columns(down.weight.arraySync()),
      }
    })
    const { attention, feedForward, output } = trace.hiddenStates!.layers[0]
    const attended = trace.hiddenStates!.embed.map((v, i) => v + attention[i])
    expect(
      maxDifference(
        attended.map((v, i) => v + feedForward[i]),
        output,
      ),
    ).toBeLessThan(1e-5)
    const norm = model.weights.blocks[0].feedForwardNorm.arraySync()
    const D = norm.length
    const x = tokens.map((_, t) => {
      const row = [...attended.subarray(t * D, (t + 1) * D)]
      const scale = 1 / Math.sqrt(row.reduce((s, v) => s + v * v, 0) / D + 1e-5)
      return row.map((v, d) => v * scale * norm[d])
    })
    const kept = {
      ...trace.layers[0],
      expertIndices: trace.layers[0].expertIndices.map((e) => Math.max(e, 0)),
    }
    expect(maxDifference(feedForward, moeReference(x, experts, kept).flat())).toBeLessThan(2e-5)
  })

  test('replaying a trace gives the recorded routing and, with nothing else changed, the same logits', () => {
    const recorded = run(model, tokens, {})
    const replay = { replace: { by: 'trace' as const, trace: recorded.trace } }
    const again = run(model, tokens, { interventions: replay })
    expect(maxDifference(again.logits, recorded.logits)).toBeLessThan(1e-5)
    const other = randomTokens(9, 40, 99)
    const moved = run(model, other, { interventions: replay })
    expect(moved.trace.layers.map((l) => [...l.expertIndices])).toEqual(
      recorded.trace.layers.map((l) => [...l.expertIndices]),
    )
    const cache = model.createCache()
    const pieces = [tokens.slice(0, 4), tokens.slice(4)].map((part) =>
      run(model, part, { interventions: replay, cache }),
    )
    expect(maxDifference([...pieces[0].logits, ...pieces[1].logits], recorded.logits)).toBeLessThan(2e-5)
    cache.dispose()
  })

  test.each(['random', 'round-robin', 'force', 'disable'])(
    '%s is the same whole and through the cache',
    (name) => {
      const interventions = ALL[name]
      const whole = run(model, tokens, { interventions })
      const cache = model.createCache()
      const pieces = [tokens.slice(0, 3), tokens.slice(3, 5), tokens.slice(5)].flatMap((part) => [
        ...run(model, part, { interventions, cache }).logits,
      ])
      cache.dispose()
      expect(maxDifference(pieces, whole.logits)).toBeLessThan(2e-5)
    },
  )

  test('padding neither takes seats nor shows in the trace', () => {
    const interventions: Interventions = { capacity: { factor: 1, policy: 'drop' } }
    const batch = [tokens.slice(0, 2), tokens]
    const { trace } = run(model, batch, { interventions })
    expect(trace.rows.map((r) => `${r.sequence}:${r.position}`)).toEqual([
      '0:0',
      '0:1',
      ...tokens.map((_, position) => `1:${position}`),
    ])
    expect(trace.rows.map((r) => r.token)).toEqual(batch.flat())
    for (const { tokensPerExpert } of trace.layers) {
      for (const count of tokensPerExpert) expect(count).toBeLessThanOrEqual(expertCapacity(1, 11, K, E))
    }
  })

  test.each([
    [{ topK: 7 }, 'topK: 7 in layer 0, expected a whole number from 1 to 6'],
    [{ topK: 0 }, 'topK: 0 in layer 0'],
    [{ topK: 1.5 }, 'topK: 1.5'],
    [{ temperature: 0 }, 'temperature: 0, expected a number above 0'],
    [
      { disable: [0, 1, 2, 3, 4, 5].map((expert) => ({ expert })) },
      'disable: leaves 0 of 6 experts in layer 0, expected at least topK=2',
    ],
    [{ disable: [0, 1, 2, 3, 4].map((expert) => ({ expert })) }, 'disable: leaves 1 of 6 experts'],
    [{ disable: [{ expert: 6 }] }, 'disable: 6 in layer 0, expected a whole number from 0 to 5'],
    [{ bias: [{ expert: 1, value: Number.NaN }] }, 'bias: NaN for expert 1'],
    [
      { bias: [{ expert: 1, value: 1e39 }] },
      'bias: 1e+39 for expert 1, expected a number that float32 can hold',
    ],
    [{ temperature: 1e-45 }, 'temperature: 1e-45 makes logits larger than float32 can hold'],
    [{ disable: [{ expert: 0, layer: 2 }] }, 'disable: layer 2, expected a layer with a router (0, 1)'],
    [{ bias: [{ expert: 0, value: 1, layer: 2 }] }, 'bias: layer 2, expected'],
    [{ force: [{ position: 0, experts: [0], layer: -1 }] }, 'force: layer -1, expected'],
    [
      {
        force: [
          { position: 1, experts: [0] },
          { position: 1, experts: [2], layer: 1 },
        ],
      },
      'force: token 1 of layer 1 is sent twice, expected once',
    ],
    [
      {
        force: [
          { position: 1, experts: [0], sequence: 3 },
          { position: 1, experts: [2] },
        ],
      },
      'force: token 1 of layer 0 is sent twice, expected once',
    ],
    [
      { force: [{ position: 0, experts: [1, 1] }] },
      'force: token 0 to experts [1,1], expected 1 to 2 different ones',
    ],
    [{ force: [{ position: 0, experts: [1, 2, 3] }] }, 'expected 1 to 2'],
    [{ force: [{ position: 0, experts: [2] }], disable: [{ expert: 2 }] }, 'expert 2 of layer 0 is disabled'],
    [{ force: [{ position: 0, experts: [2] }], replace: { by: 'round-robin' } }, 'exclude each other'],
    [{ capacity: { factor: 0, policy: 'drop' } }, 'capacity factor: 0'],
    [
      { capacity: { factor: 1, policy: 'queue' } },
      'capacity policy: is "queue", expected one of drop, next-best, none',
    ],
  ])('%o is one sentence', (interventions, message) => {
    const before = tf.memory().numTensors
    expect(() => run(model, tokens, { interventions: interventions as Interventions })).toThrow(message)
    expect(tf.memory().numTensors).toBe(before)
  })

  test('a trace that does not fit cannot be replayed', () => {
    const { trace } = run(model, tokens.slice(0, 3), {})
    const replay = (t: RoutingTrace) => () =>
      run(model, tokens, { interventions: { replace: { by: 'trace', trace: t } } })
    expect(replay(trace)).toThrow('replay: the trace has no token 3 of sequence 0')
    expect(replay({ ...trace, layers: [] })).toThrow('replay: the trace has no layer 0')
    expect(replay({ ...trace, layers: [...trace.layers, { ...trace.layers[1], layer: 2 }] })).toThrow(
      'replay: the trace has layer 2, expected a layer with a router (0, 1)',
    )
    expect(replay({ ...trace, layers: trace.layers.map((l) => ({ ...l, numExperts: 8 })) })).toThrow(
      'replay: layer 0 of the trace has 8 experts, expected 6',
    )
    const [expert] = trace.layers[0].expertIndices
    const off = { replace: { by: 'trace' as const, trace }, disable: [{ expert }] }
    expect(() => run(model, tokens.slice(0, 3), { interventions: off })).toThrow(
      `replay: sends token 0 to expert ${expert} of layer 0, which is disabled`,
    )
    expect(replay({ ...trace, layers: trace.layers.map((l) => ({ ...l, topK: 1 })) })).toThrow(
      'topK 1, expected 2',
    )
  })

  test('a group limit leaves fewer experts to choose from', () => {
    const grouped = { ...softmaxTopK(8, 2), groupLimit: { groups: 4, keep: 2, score: 'max' as const } }
    const of = (interventions: Interventions) => () => interventionFor(interventions, grouped, 1)
    expect(of({ topK: 4 })).not.toThrow()
    expect(of({ topK: 5 })).toThrow(
      'topK: 5 in layer 1, expected at most 4: a token may use 2 of 4 groups of experts',
    )
    // One expert of each pair off: two pairs have two left. A whole pair and half of another off: one left.
    expect(of({ disable: [0, 2, 4, 6].map((expert) => ({ expert })) })).not.toThrow()
    expect(of({ disable: [0, 1, 2].map((expert) => ({ expert })) })).toThrow(
      'disable: could leave fewer than topK=2 experts in layer 1, where a token may use 2 of 4 groups',
    )
  })

  test('a model without a router takes no interventions', () => {
    const [layer] = model.config.layers
    const dense = { ...layer, feedForward: { kind: 'dense' as const, intermediateSize: 4, bias: false } }
    expect(() => interventionsByLayer({ topK: 1 }, [dense])).toThrow(
      'interventions: every layer is dense, so none has a router',
    )
  })

  test('a NaN weight is found on the device path too, with layer and token', () => {
    const broken = randomModel({ E, K, layers: 2 })
    const block = broken.weights.blocks[1].feedForward
    if (block.kind !== 'moe') throw new Error('expected a mixture')
    const router = block.router.weight.arraySync()
    router[0][3] = Number.NaN
    block.router.weight.dispose()
    block.router.weight = tf.tensor2d(router)
    const before = tf.memory().numTensors
    for (const dispatch of DISPATCHES) {
      expect(() => broken.forward(tokens, { dispatch })).toThrow(
        'router of layer 1: token 0 of sequence 0 has logit NaN for expert 3, expected a finite number',
      )
    }
    expect(tf.memory().numTensors).toBe(before)
  })
})

function run(model: MoeModel, tokens: number[] | number[][], options: Parameters<MoeModel['forward']>[1]) {
  const { logits, trace } = model.forward(tokens, { trace: true, ...options })
  const values = logits.dataSync() as Float32Array
  logits.dispose()
  return { logits: values, trace: trace as RoutingTrace }
}
