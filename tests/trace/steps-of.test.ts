import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { InputError } from '../../src/errors.ts'
import { type LoadedModel, loadModel } from '../../src/load-model.ts'
import { mixtureAt, mixturesOf, type RouterConfig, softmaxTopK } from '../../src/model/config.ts'
import { route, stepsFromLogits } from '../../src/model/router/route.ts'
import type { Interventions, RouterStep } from '../../src/model/router/types.ts'
import type { RoutingTrace } from '../../src/model/trace.ts'
import { joinTraces } from '../../src/model/trace.ts'
import { traceFromJson, traceToJson } from '../../src/trace/json.ts'
import { type SteppedModel, stepsOf } from '../../src/trace/steps-of.ts'
import { rowsOf } from './traces.ts'

/** The bundled models that have routers; deepseek's first layer is dense. */
const MIXTURES = ['moe', 'deepseek', 'random-mixtral']
const TOKENS = [1, 49, 80, 313, 22, 25, 13, 26, 23, 28, 223, 25]

/** What a list of steps comes to: the last of each value that was written. */
function outcomeOf(steps: RouterStep[]): { experts: number[]; weights: number[] } {
  const last = (name: string) =>
    steps.flatMap(({ applies, outputs }) => (applies && outputs[name] ? [outputs[name].data] : [])).at(-1)!
  return { experts: [...last('expertIndices')], weights: [...last('expertWeights')] }
}

/** Every decision of a trace, stepped alone and, where one call made it, all together. */
function expectRecorded(model: SteppedModel, trace: RoutingTrace): void {
  for (const { layer, topK: K, expertIndices, expertWeights } of trace.layers) {
    const together = trace.callLengths ? null : outcomeOf(stepsOf(model, trace, layer))
    for (const t of trace.rows.keys()) {
      const { experts, weights } = outcomeOf(stepsOf(model, trace, layer, t))
      const row = [t * K, (t + 1) * K] as const
      expect(experts).toEqual([...expertIndices.subarray(...row)])
      expectClose(weights, expertWeights.subarray(...row))
      if (together) expect(together.experts.slice(...row)).toEqual(experts)
    }
  }
}

/** A device's weights are float32, the host's are rounded from float64. */
function expectClose(weights: number[], recorded: Float32Array): void {
  weights.forEach((w, k) => {
    expect(Math.abs(w - recorded[k])).toBeLessThan(1e-5)
  })
}

function traced(model: LoadedModel, tokens: number[] | number[][], interventions?: Interventions) {
  const { logits, trace } = model.forward(tokens, { trace: true, interventions })
  logits.dispose()
  return trace
}

const CHANGES: [string, Interventions][] = [
  ['top-k', { topK: 1 }],
  ['a temperature', { temperature: 2.5 }],
  ['disabled experts', { disable: [{ expert: 0 }, { expert: 5, layer: 1 }] }],
  ['a bias', { bias: [{ expert: 3, value: 0.4 }] }],
  ['a forced token', { force: [{ position: 2, experts: [6] }] }],
  ['random routing', { replace: { by: 'random', seed: 7 } }],
  ['routing in turn', { replace: { by: 'round-robin' } }],
  ['capacity that drops', { capacity: { factor: 0.5, policy: 'drop' } }],
  ['capacity that moves', { capacity: { factor: 0.5, policy: 'next-best' } }],
  [
    'several at once',
    {
      topK: 2,
      temperature: 0.7,
      disable: [{ expert: 1 }],
      bias: [{ expert: 2, value: 0.2 }],
      capacity: { factor: 1, policy: 'next-best' },
    },
  ],
]

describe.each(MIXTURES)('%s', (name) => {
  let model: LoadedModel
  beforeAll(async () => {
    model = await loadModel(`models/${name}`, { device: 'cpu' })
  })
  afterAll(() => model.dispose())

  test('every decision is what its steps come to, of one sequence and of a padded batch', () => {
    const one = traced(model, TOKENS)
    expect(one.layers.length).toBe(mixturesOf(model.config.layers).length)
    expectRecorded(model, one)
    expectRecorded(model, traced(model, [TOKENS, TOKENS.slice(3, 8)]))
  })

  test('so with every intervention, and from JSON', () => {
    for (const [, interventions] of CHANGES) {
      const trace = traced(model, TOKENS, interventions)
      expectRecorded(model, trace)
      expectRecorded(model, traceFromJson(traceToJson(trace)).trace)
    }
    const replace = { by: 'trace', trace: traced(model, TOKENS, { disable: [{ expert: 2 }] }) } as const
    expectRecorded(model, traced(model, TOKENS, { replace }))
    expectRecorded(model, traceFromJson(traceToJson(traced(model, TOKENS, { replace }))).trace)
  })

  test('so for any tokens and changes, over the calls of a run', () => {
    const expert = fc.nat(7)
    const change: fc.Arbitrary<Interventions> = fc.record(
      {
        topK: fc.integer({ min: 1, max: 4 }),
        temperature: fc.constantFrom(0.5, 1, 3),
        disable: fc.array(fc.record({ expert }), { maxLength: 2 }),
        bias: fc.array(fc.record({ expert, value: fc.constantFrom(-1, 0.1, 0.5) }), { maxLength: 3 }),
        capacity: fc.record({
          factor: fc.constantFrom(0.3, 1, 2),
          policy: fc.constantFrom('drop', 'next-best', 'none'),
        }),
      },
      { requiredKeys: [] },
    )
    const token = fc.nat(model.config.vocabSize - 1)
    const calls = fc.array(fc.array(token, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(calls, fc.option(change, { nil: undefined }), (parts, interventions) => {
        const cache = model.createCache()
        const traces = parts.map((tokens) => {
          const { logits, trace } = model.forward(tokens, { cache, trace: true, interventions })
          logits.dispose()
          return trace
        })
        cache.dispose()
        expectRecorded(model, joinTraces(traces))
      }),
      { numRuns: 25 },
    )
  })
})

test.each(['dense-active', 'dense-total'])('%s has no router to step', async (name) => {
  const model = await loadModel(`models/${name}`, { device: 'cpu' })
  const trace = traced(model, TOKENS)
  expect(trace.layers).toEqual([])
  expect(() => stepsOf(model, trace, 0)).toThrow(
    new InputError('layer: the trace has no layer 0 with a router, every layer is dense'),
  )
  model.dispose()
})

test("deepseek's choosing bias counts: steps without it would decide otherwise, in silence", async () => {
  const model = await loadModel('models/deepseek', { device: 'cpu' })
  const trace = traced(model, [1, 49, 80, 313])
  const differ = trace.layers.filter(({ layer, routerLogits, expertIndices }) => {
    const { router } = mixtureAt(model.config, layer)
    return String(route(routerLogits, router).expertIndices) !== String(expertIndices)
  })
  expect(differ.length).toBeGreaterThan(0)
  expectRecorded(model, trace)
  const names = stepsOf(model, trace, 1, 3).map(({ name, applies }) => `${name}${applies ? '' : ' (no)'}`)
  expect(names).toEqual([
    'logits',
    'scores',
    'choosing-bias',
    'group-limit',
    'top-k',
    'renormalise',
    'scale (no)',
    'capacity (no)',
  ])
  model.dispose()
})

test('half precision: the router computes what is recorded all the same', async () => {
  const model = await loadModel('models/deepseek', { device: 'cpu', dtype: 'bfloat16' })
  expectRecorded(model, traced(model, [...TOKENS, ...TOKENS, ...TOKENS]))
  model.dispose()
})

/** A model of one router, and what a device recorded of one token's logits. */
function recordedBy(config: RouterConfig, logits: number[], experts: number[]) {
  const routerLogits = Float32Array.from(logits)
  const { scoring, weighting, normEpsilon, scalingFactor, groupLimit } = config
  const steps = stepsFromLogits(routerLogits, {
    numExperts: logits.length,
    topK: config.topK,
    ...{ scoring, weighting, normEpsilon, scalingFactor, groupLimit },
  })
  const scores = [...steps].find(({ name }) => name === 'scores')!.outputs.scores.data as Float32Array
  const total = experts.reduce((sum, e) => sum + scores[e], 0)
  const model = {
    config: { layers: [{ feedForward: { kind: 'moe', router: config } }] },
    weights: { blocks: [{ feedForward: { kind: 'moe', scoreBias: null, router: { bias: null } } }] },
  } as unknown as SteppedModel
  const trace: RoutingTrace = {
    rows: rowsOf(1),
    hiddenStates: null,
    layers: [
      {
        layer: 0,
        numExperts: logits.length,
        topK: config.topK,
        routerLogits,
        scores,
        expertIndices: Int32Array.from(experts),
        expertWeights: Float32Array.from(experts, (e) => scores[e] / total),
        tokensPerExpert: Int32Array.from(logits, (_, e) => Number(experts.includes(e))),
        margins: [0],
        entropies: Float32Array.of(1),
      },
    ],
  }
  return { model, trace }
}

test('where only rounding decides, the steps come to what the device chose', () => {
  const tie = [2, 1, 1 + 2 ** -22, 0]
  const { model, trace } = recordedBy(softmaxTopK(4, 2), tie, [0, 1])
  expect(route(trace.layers[0].routerLogits, softmaxTopK(4, 2)).expertIndices).toEqual(Int32Array.of(0, 2))
  expect(outcomeOf(stepsOf(model, trace, 0, 0)).experts).toEqual([0, 1])
})

test('a decision that does not follow from its logits is an error, not another decision', () => {
  const { model, trace } = recordedBy(softmaxTopK(4, 2), [2, 1, 1.1, 0], [0, 1])
  expect(() => stepsOf(model, trace, 0, 0)).toThrow(
    new InputError(
      "trace: token 0 of layer 0 recorded experts 0, 1 with weights 0.7311, 0.2689, and this model's router comes to experts 0, 2 with weights 0.7109, 0.2891: the trace is of another model, or was changed",
    ),
  )
})

test('a trace of a router that chooses another number of experts is of another model', () => {
  const { trace } = recordedBy(softmaxTopK(4, 2), [2, 1, 1.5, 0], [0, 2])
  const { model } = recordedBy(softmaxTopK(4, 1), [2, 1, 1.5, 0], [0])
  expect(() => stepsOf(model, trace, 0, 0)).toThrow('the trace is of another model, or was changed')
})

describe('nonsense is one sentence', () => {
  const { model, trace } = recordedBy(softmaxTopK(4, 2), [2, 1, 1.5, 0], [0, 2])
  test.each<[string, () => unknown, string]>([
    ['no trace', () => stepsOf(model, null as never, 0), 'trace: is null, expected what forward('],
    ['nothing of a trace', () => stepsOf(model, {} as never, 1, 1), 'trace: is {}, expected what forward('],
    [
      'what traceFromJson returns, whole',
      () => stepsOf(model, traceFromJson(traceToJson(trace)) as never, 0, 0),
      'hands out as trace; it has a trace: give its .trace',
    ],
    ['no model', () => stepsOf(null as never, trace, 0), 'model: is null, expected a model that loadModel'],
    [
      'nothing of a model',
      () => stepsOf({} as never, trace, 0),
      'model.config: is undefined, expected the config of a model',
    ],
    ['no traces to join', () => joinTraces([]), 'traces: is [], expected a list of at least one trace'],
    ['a trace alone to join', () => joinTraces(trace as never), 'expected a list of at least one trace'],
    [
      'no trace among them',
      () => joinTraces([trace, null as never]),
      'traces[1]: is null, expected what forward(',
    ],
    [
      'traces of two models',
      () => joinTraces([recordedBy(softmaxTopK(5, 2), [1, 2, 3, 4, 5], [4, 3]).trace, trace]),
      'traces[1]: has layer 0 (E=4, K=2), expected layer 0 (E=5, K=2) as in traces[0]: a run is of one model',
    ],
    [
      'a layer that it has not',
      () => stepsOf(model, trace, 3),
      'layer: the trace has no layer 3 with a router, expected one of 0',
    ],
    [
      'a layer by name',
      () => stepsOf(model, trace, 'first' as never),
      'layer: the trace has no layer first with',
    ],
    ['a dense model', () => stepsOf(model, { ...trace, layers: [] }, 0), 'every layer is dense'],
    [
      'a token after the last',
      () => stepsOf(model, trace, 0, 1),
      'token: is 1, expected a whole number from 0 to 0',
    ],
    [
      'half a token',
      () => stepsOf(model, trace, 0, 0.5),
      'token: is 0.5, expected a whole number from 0 to 0',
    ],
    [
      'several calls without a token',
      () => stepsOf(model, joinTraces([trace, trace]), 0),
      'token: expected one: the trace joins 2 calls',
    ],
    [
      "another model's trace",
      () => stepsOf(recordedBy(softmaxTopK(5, 2), [1, 2, 3, 4, 5], [4, 3]).model, trace, 0),
      "trace: layer 0 has 4 experts, and the model's has 5 experts: the trace is of another model",
    ],
  ])('%s', (_, call, sentence) => {
    expect(call).toThrow(InputError)
    expect(call).toThrow(sentence)
  })
})
