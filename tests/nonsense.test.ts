import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { InputError } from '../src/errors.ts'
import { type LoadedModel, type LoadOptions, loadModel } from '../src/load-model.ts'
import { type RouterConfig, softmaxTopK } from '../src/model/config.ts'
import { interventionFor } from '../src/model/router/interventions.ts'
import { route, stepRouter, stepsFromLogits } from '../src/model/router/route.ts'
import type { Interventions, RouteContext, RouterLayer } from '../src/model/router/types.ts'
import { MoeModel } from '../src/model/transformer.ts'
import { MIXTRAL } from './cli/run-cli.ts'

/*
 * What the exported functions say to what they cannot mean: one sentence with the argument, its value and what was
 * expected, before anything is computed. stepsOf and the matchers have such tables beside their own tests.
 */

function expectSentence(call: () => unknown, sentence: string): void {
  expect(call).toThrow(InputError)
  expect(call).toThrow(sentence)
}

const config = softmaxTopK(4, 2)
const GROUPED: RouterConfig = { ...config, groupLimit: { groups: 2, keep: 1, score: 'max' } }
const logits = Float32Array.of(1, 2, 3, 4)

const CONFIGS: [string, unknown, string][] = [
  ['no config', undefined, 'config: is undefined, expected a RouterConfig, such as softmaxTopK(8, 2)'],
  ['no experts', { ...config, numExperts: 0 }, 'numExperts: is 0, expected a whole number from 1'],
  ['k above E', { ...config, topK: 5 }, 'topK: is 5, expected a whole number from 1 to 4'],
  ['k 0', { ...config, topK: 0 }, 'topK: is 0, expected a whole number from 1 to 4'],
  ['half of k', { ...config, topK: 1.5 }, 'topK: is 1.5, expected a whole number from 1 to 4'],
  ['k as text', { ...config, topK: '2' }, 'topK: is "2", expected a whole number from 1 to 4'],
  [
    'a wrong name of scoring',
    { ...config, scoring: 'softmaxx' },
    'scoring: is "softmaxx", expected one of softmax, sigmoid, none',
  ],
  [
    'a wrong name of weighting',
    { ...config, weighting: 'sum' },
    'weighting: is "sum", expected one of scores, normalized, softmax-of-chosen',
  ],
  ['no epsilon', { ...config, normEpsilon: Number.NaN }, 'normEpsilon: is NaN, expected a number from 0'],
  ['a negative epsilon', { ...config, normEpsilon: -1 }, 'normEpsilon: is -1, expected a number from 0'],
  [
    'no scaling factor',
    { ...config, scalingFactor: undefined },
    'scalingFactor: is undefined, expected a number',
  ],
  [
    'a group limit by number',
    { ...config, groupLimit: 2 },
    'groupLimit: is 2, expected null or { groups, keep, score }',
  ],
  [
    'groups that do not divide E',
    { ...config, groupLimit: { groups: 3, keep: 1, score: 'max' } },
    'groupLimit.groups: is 3, expected a divisor of numExperts=4',
  ],
  [
    'more groups to keep than there are',
    { ...config, groupLimit: { groups: 2, keep: 3, score: 'max' } },
    'groupLimit.keep: is 3, expected a whole number from 1 to 2',
  ],
  [
    'a wrong name of a group score',
    { ...config, groupLimit: { groups: 2, keep: 1, score: 'mean' } },
    'groupLimit.score: is "mean", expected one of max, sum-of-top-2',
  ],
  [
    'k above what the groups leave',
    { ...config, topK: 3, groupLimit: { groups: 2, keep: 1, score: 'max' } },
    'topK: is 3, expected at most 2: a token may use 1 of 2 groups of experts',
  ],
]

const LOGITS: [string, unknown, string][] = [
  ['no logits', undefined, 'routerLogits: is undefined, expected a Float32Array [T, E]'],
  ['a list of logits', [1, 2, 3, 4], 'routerLogits: is [1,2,3,4], expected a Float32Array [T, E]'],
  [
    'float64 logits',
    Float64Array.of(1, 2, 3, 4),
    'routerLogits: is a Float64Array, expected a Float32Array [T, E]',
  ],
  [
    'a logit too few',
    Float32Array.of(1, 2, 3),
    'routerLogits: has 3 values, expected a multiple of numExperts=4',
  ],
  ['none', new Float32Array(), 'routerLogits: has 0 values, expected a multiple of numExperts=4'],
  ['a NaN', Float32Array.of(1, Number.NaN, 3, 4), 'has logit NaN for expert 1, expected a finite number'],
]

const CONTEXTS: [string, unknown, string][] = [
  ['a context by layer', 3, 'context: is 3, expected { scoreBias, place, intervention }'],
  ['a short bias', { scoreBias: Float32Array.of(1) }, 'scoreBias: has 1 values, expected 4 [E]'],
  ['a list of biases', { scoreBias: [0, 0, 0, 1] }, 'scoreBias: is [0,0,0,1], expected a Float32Array [E]'],
  [
    'a bias that is no number',
    { scoreBias: Float32Array.of(0, 0, Number.NaN, 0) },
    'scoreBias: is NaN for expert 2, expected a finite number',
  ],
  ['no such layer', { place: { layer: -1 } }, 'place.layer: is -1, expected a whole number from 0'],
  [
    'rows of other tokens',
    { place: { layer: 0, rows: [] } },
    'place.rows: has 0 rows, expected 1, one a token',
  ],
  [
    'interventions as a forward takes them',
    { intervention: { topK: 1 } },
    'intervention: is {"topK":1}, expected what interventionFor(interventions, config, layer) returns',
  ],
  [
    'an intervention for more experts',
    { intervention: interventionFor({ topK: 6 }, softmaxTopK(8, 2), 0) },
    'intervention: was made for a router with numExperts=8, expected numExperts=4 as in config',
  ],
  [
    'a forced expert that there is not',
    { intervention: interventionFor({ force: [{ position: 0, experts: [7] }] }, softmaxTopK(8, 2), 0) },
    'intervention: was made for a router with numExperts=8, expected numExperts=4 as in config',
  ],
  [
    "another router's K",
    { intervention: interventionFor({ temperature: 2 }, softmaxTopK(4, 1), 0) },
    'intervention: was made for a router with topK=1, expected topK=2 as in config',
  ],
  [
    'an intervention for a router with groups',
    { intervention: interventionFor({}, GROUPED, 0) },
    'intervention: was made for a router with groups=2, expected groups=null as in config',
  ],
  [
    'a misspelt name',
    { scorebias: Float32Array.of(0, 0, 0, 1) },
    'context: is "scorebias", expected one of scoreBias, place, intervention, choice',
  ],
  ['a choice of one', { choice: Int32Array.of(3) }, 'choice: has 1 values, expected 2 [T, K]'],
  ['a list of choices', { choice: [3, 2] }, 'choice: is [3,2], expected an Int32Array [T, K]'],
  [
    'an expert chosen twice',
    { choice: Int32Array.of(3, 3) },
    'choice: is [3,3] for token 0, expected 2 different experts from 0 to 3',
  ],
  [
    'a chosen expert that there is not',
    { choice: Int32Array.of(3, 4) },
    'choice: is [3,4] for token 0, expected 2 different experts from 0 to 3',
  ],
]

describe.each([
  ['route', route],
  ['stepsFromLogits', (...given: Parameters<typeof stepsFromLogits>) => stepsFromLogits(...given).next()],
])('%s', (_, run) => {
  test.each(CONFIGS)('%s', (_, given, sentence) => {
    expectSentence(() => run(logits, given as RouterConfig), sentence)
  })
  test.each(LOGITS)('%s', (_, given, sentence) => {
    expectSentence(() => run(given as Float32Array, config), sentence)
  })
  test.each(CONTEXTS)('%s', (_, given, sentence) => {
    expectSentence(() => run(logits, config, given as RouteContext), sentence)
  })
})

describe('stepRouter', () => {
  const layer: RouterLayer = { config, weight: new Float32Array(12), bias: null, scoreBias: null }
  const step = (hidden: unknown, given: unknown = layer) =>
    stepRouter(hidden as Float32Array, given as RouterLayer).next()

  test.each(CONFIGS)('%s', (_, given, sentence) => {
    expectSentence(() => step(new Float32Array(3), { ...layer, config: given }), sentence)
  })

  test.each<[string, () => unknown, string]>([
    [
      'no layer',
      () => step(new Float32Array(3), null),
      'layer: is null, expected { config, weight, bias, scoreBias }',
    ],
    ['a list of hidden states', () => step([1, 2, 3]), 'hidden: is [1,2,3], expected a Float32Array [T, D]'],
    ['another width', () => step(new Float32Array(4)), 'hidden: has 4 values, expected a multiple of D=3'],
    [
      'a weight of other experts',
      () => step(new Float32Array(3), { ...layer, weight: new Float32Array(7) }),
      'weight: has 7 values, expected a multiple of numExperts=4',
    ],
    [
      'a bias of other experts',
      () => step(new Float32Array(3), { ...layer, bias: new Float32Array(3) }),
      'bias: has 3 values, expected 4 [E]',
    ],
    [
      'a choosing bias of other experts',
      () => {
        const steps = stepRouter(new Float32Array(3), { ...layer, scoreBias: new Float32Array(5) })
        return [...steps]
      },
      'scoreBias: has 5 values, expected 4 [E]',
    ],
  ])('%s', (_, call, sentence) => expectSentence(call, sentence))
})

const INTERVENTIONS: [unknown, string][] = [
  ['none', 'interventions: is "none", expected an object with any of topK, temperature, disable, bias'],
  [[], 'interventions: is [], expected an object with any of topK'],
  [
    { topk: 1 },
    'interventions: is "topk", expected one of topK, temperature, disable, bias, force, replace, capacity',
  ],
  [{ topK: 0 }, 'topK: 0 in layer'],
  [{ topK: 9 }, 'topK: 9 in layer'],
  [{ temperature: '2' }, 'temperature: 2, expected a number above 0'],
  [{ disable: 3 }, 'disable: is 3, expected a list of { expert, layer? }'],
  [{ disable: [3] }, 'disable[0]: is 3, expected { expert, layer? }'],
  [
    { bias: { expert: 1, value: 2 } },
    'bias: is {"expert":1,"value":2}, expected a list of { expert, value, layer? }',
  ],
  [
    { bias: [{ expert: 1, value: 'high' }] },
    'bias: high for expert 1, expected a number that float32 can hold',
  ],
  [{ force: [{ position: -1, experts: [1] }] }, 'force[0].position: is -1, expected a whole number from 0'],
  [{ force: [{ position: 0, experts: 1 }] }, 'force[0].experts: is 1, expected a list of experts'],
  [
    { force: [{ position: 0, experts: [1], sequence: 'a' }] },
    'force[0].sequence: is "a", expected a whole number from 0',
  ],
  [{ replace: 'random' }, 'replace: is "random", expected { by: \'random\', seed }'],
  [{ replace: { by: 'chance' } }, 'replace.by: is "chance", expected one of random, round-robin, trace'],
  [{ replace: { by: 'random' } }, 'replace.seed: is undefined, expected a whole number from 0'],
  [{ replace: { by: 'trace' } }, 'replace.trace: is undefined, expected the trace of a run'],
  [{ capacity: 1.25 }, 'capacity: is 1.25, expected { factor, policy }'],
  [{ capacity: { factor: 0, policy: 'drop' } }, 'capacity factor: 0, expected a number above 0'],
  [
    { capacity: { factor: 1, policy: 'queue' } },
    'capacity policy: is "queue", expected one of drop, next-best, none',
  ],
]

describe('interventionFor', () => {
  test.each(INTERVENTIONS)('%j', (given, sentence) => {
    expectSentence(() => interventionFor(given as Interventions, config, 0), sentence)
  })
  test.each(CONFIGS)('%s', (_, given, sentence) => {
    expectSentence(() => interventionFor({}, given as RouterConfig, 0), sentence)
  })
  test('no layer', () => {
    expectSentence(
      () => interventionFor({}, config, undefined as never),
      'layer: is undefined, expected a whole number from 0',
    )
  })
})

test.each<[unknown, string]>([
  [{ executor: 'fast' }, 'executor: is "fast", expected one of recorded, eager'],
  [{ dispatch: 'fast' }, 'dispatch: is "fast", expected one of dense, sparse, gather, auto'],
  [{ dtype: 'int8' }, 'dtype: is "int8", expected one of float32, bfloat16, float16, auto'],
  [{ device: 'gpu' }, 'device: "gpu" is no device; expected one of auto, cuda, cpu, wasm, js'],
  [{ threads: 0 }, 'threads'],
  [
    { devcie: 'cpu' },
    'options: is "devcie", expected one of device, dispatch, executor, dtype, threads, debug, expertsOnDisk, onProgress; the nearest is device',
  ],
  [{ onProgress: true }, 'onProgress: is true, expected a function of the share that was read'],
  ['cpu', 'options: is "cpu", expected an object with options of loadModel'],
])('loadModel with %j', async (options, sentence) => {
  const loading = loadModel(MIXTRAL, options as LoadOptions)
  await expect(loading).rejects.toThrow(InputError)
  await expect(loading).rejects.toThrow(sentence)
})

describe.each(['recorded', 'eager'] as const)('a model, %s', (executor) => {
  let model: LoadedModel
  let before: number
  beforeAll(async () => {
    model = await loadModel(MIXTRAL, { device: 'cpu', executor })
    before = tf.memory().numTensors
  })
  afterAll(() => {
    expect(tf.memory().numTensors).toBe(before)
    model.dispose()
  })
  const V = 160

  const TOKENS: [unknown, string][] = [
    [
      'Once',
      'tokens: is "Once", expected token ids such as [1, 49, 80]; model.tokenizer.encode makes them of a text',
    ],
    [7, 'tokens: is 7, expected token ids such as [1, 49, 80]'],
    [undefined, 'tokens: is undefined, expected token ids'],
    [new DataView(new ArrayBuffer(4)), 'tokens: is a DataView, expected token ids such as [1, 49, 80]'],
    [['1', '2'], `tokens: sequence 0 has "1" at position 0, expected an integer from 0 to ${V - 1}`],
    [[1, 2.5], `tokens: sequence 0 has 2.5 at position 1, expected an integer from 0 to ${V - 1}`],
    [[1, V], `tokens: sequence 0 has ${V} at position 1`],
    [[[1], 2], 'tokens: sequence 1 is 2, expected a list of token ids'],
    [[[1], 'ab'], 'tokens: sequence 1 is "ab", expected a list of token ids'],
  ]
  const OPTIONS: [unknown, string][] = [
    ['trace', 'options: is "trace", expected an object with options of forward'],
    [{ dispatch: 'fast' }, 'dispatch: is "fast", expected one of dense, sparse, gather, auto'],
    [{ traec: true }, 'options: is "traec", expected one of cache, trace, attentionMask, dispatch'],
    [{ trace: 'yes' }, 'trace: is "yes", expected true, false or { hiddenStates }'],
    [{ cache: {} }, 'cache: is {}, expected what model.createCache() returns'],
    [{ attentionMask: [1, 1] }, 'attentionMask: is [1,1], expected a list of 0 and 1 a sequence'],
    ...INTERVENTIONS.map(([interventions, sentence]): [unknown, string] => [{ interventions }, sentence]),
  ]

  test.each(TOKENS)('forward and greedy of %j', (tokens, sentence) => {
    expectSentence(() => model.forward(tokens as number[]), sentence)
    expectSentence(() => model.greedy(tokens as number[]), sentence)
  })

  test.each(OPTIONS)('forward and greedy with %j', (options, sentence) => {
    expectSentence(() => model.forward([1, 2], options as never), sentence)
    expectSentence(() => model.greedy([1, 2], options as never), sentence)
  })

  test("another model's cache, of the same shape", () => {
    const other = new MoeModel(model.config, { ...model.weights })
    const cache = other.createCache()
    const sentence =
      "kvCache: was made for another model, of the same shape, expected what this model's createCache() returns"
    expectSentence(() => model.forward([1], { cache }), sentence)
    expectSentence(() => model.greedy([1], { cache }), sentence)
    cache.dispose()
  })

  test('forward with logits that there are not', () => {
    expectSentence(
      () => model.forward([1], { logits: 'first' as never }),
      'logits: is "first", expected one of all, last',
    )
  })

  test('more tokens than positions, at once and by and by', () => {
    const most = model.config.maxPositionEmbeddings
    const long = new Array(most + 1).fill(1)
    const expected = `expected at most the model's maxPositionEmbeddings=${most}`
    expectSentence(() => model.forward(long), `tokens: sequence 0 has ${most + 1}, ${expected}`)
    expectSentence(() => model.forward([[1], long]), `tokens: sequence 1 has ${most + 1}, ${expected}`)
    const cache = model.createCache()
    model.forward([1, 2], { cache }).logits.dispose()
    const rest = long.slice(2)
    expectSentence(
      () => model.forward(rest, { cache }),
      `tokens: sequence 0 has ${most + 1}, 2 of them in the cache, ${expected}`,
    )
    expect(cache.length).toBe(2)
    cache.dispose()
  })

  test.each<[unknown, string]>([
    [undefined, 'generate: is undefined, expected an object with prompt or tokens'],
    ['Once', 'generate: is "Once", expected an object with prompt or tokens'],
    [{}, 'generate: expected either prompt (a text) or tokens (ids), not both or none'],
    [{ tokens: [1], maxtokens: 3 }, 'generate: is "maxtokens", expected one of prompt, tokens, maxTokens'],
    [{ prompt: 7 }, 'prompt: is 7, expected a text'],
    [{ tokens: 'Once' }, 'tokens: is "Once", expected a list of token ids'],
    [{ tokens: [] }, 'tokens: are empty, expected at least one token'],
    [{ tokens: [1], stop: 'The end' }, 'stop: is "The end", expected a list of texts, such as [\'The end\']'],
    [{ tokens: [1], stop: [1] }, 'stop: is [1], expected a list of texts'],
    [{ tokens: [1], signal: true }, "signal: is true, expected an AbortController's signal"],
    [{ tokens: [1], maxTokens: 0 }, 'maxTokens: is 0, expected a whole number from 1'],
    [{ tokens: [1], topK: -1 }, 'topK: is -1, expected a whole number from 0'],
    [{ tokens: [1], temperature: 'hot' }, 'temperature: is "hot", expected a number from 0'],
    [{ tokens: [1], temperature: '1' }, 'temperature: is "1", expected a number from 0'],
    [{ tokens: [1], dispatch: 'fast' }, 'dispatch: is "fast", expected one of dense'],
    [{ tokens: [1], trace: 1 }, 'trace: is 1, expected true, false or { hiddenStates }'],
    [{ tokens: [1], interventions: { topk: 1 } }, 'interventions: is "topk", expected one of topK'],
  ])('generate with %j', (options, sentence) => {
    expectSentence(() => model.generate(options as never), sentence)
  })
})
