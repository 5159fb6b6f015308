import { describe, expect, expectTypeOf, test } from 'vitest'
import '../../src/vitest/index.ts'
import { InputError } from '../../src/errors.ts'
import { loadModel } from '../../src/load-model.ts'
import { joinTraces } from '../../src/model/trace.ts'
import { traceFromJson, traceToJson } from '../../src/trace/json.ts'
import { layerOf, rowsOf, smallTrace } from '../trace/traces.ts'

const trace = smallTrace()
const [first, second] = trace.layers
const dense = { ...trace, layers: [] }

/** One layer of seven experts in which expert 0 gets every token, and 1 to 6 one each. */
const crowded = layerOf({
  layer: 4,
  scores: Array.from({ length: 6 }, () => [0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
  experts: [1, 2, 3, 4, 5, 6].map((e) => [0, e]),
})

/** As `smallTrace`, with two tokens of layer 0 sent elsewhere. */
const elsewhere = { ...trace, layers: [{ ...first, expertIndices: Int32Array.of(0, 2, 1, 0, 3, 1) }, second] }

function messageOf(assertion: () => void): string {
  try {
    assertion()
  } catch (error) {
    expect((error as Error).name).toBe('Error') // vitest's, for a matcher that failed
    return (error as Error).message
  }
  throw new Error('the assertion holds')
}

describe('holds', () => {
  test('toChooseExperts, in any order, for a layer or a named one of a trace', () => {
    expect(first).toChooseExperts(0, [1, 0])
    expect(trace).toChooseExperts(2, [2, 3], { layer: 0 })
    expect(trace).toChooseExperts(2, [2], { layer: 1 }) // the other one was dropped
    expect(trace).not.toChooseExperts(2, [3], { layer: 1 })
    expect(trace).not.toChooseExperts(0, [0], { layer: 0 })
  })

  test('the others', () => {
    expect(first).toUseEveryExpert()
    expect(trace).not.toUseEveryExpert()
    expect(first).toDropNothing()
    expect(trace).not.toDropNothing()
    expect(first).toBeBalanced({ maxViolation: 0.34 })
    expect(trace).not.toBeBalanced({ maxViolation: 0.34 })
    expect(trace).toAgreeWith(smallTrace())
    expect(trace).toAgreeWith(elsewhere, { atLeast: 0.8 })
    expect(first).not.toAgreeWith(elsewhere.layers[0])
    expect(trace).toHaveMargin(0, { above: 0.1 })
    expect(trace).toHaveMargin(0, { above: 0.4, layer: 0 })
    expect(trace).not.toHaveMargin(0, { above: 0.4 })
    expect(second).toHaveMargin(2, { above: 100 }) // no other expert could be chosen
  })
})

describe('fails with a message that shows what matters', () => {
  test.each<[string, () => void, string]>([
    [
      'toChooseExperts',
      () => expect(trace).toChooseExperts(0, [0, 3], { layer: 0 }),
      `expected token 0 (id 10) to choose experts 0, 3 in layer 0, and it chooses 0, 1

expert  score  weight
     0  0.500   0.750  expected
     1  0.250   0.250  chosen
     3  0.125       -  expected
     2  0.125       -  best score of the rest`,
    ],
    [
      'not.toChooseExperts',
      () => expect(first).not.toChooseExperts(1, [0, 1]),
      `expected token 1 not to choose experts 0, 1 in layer 0, and it chooses 1, 0

expert  score  weight
     1  0.500   0.500  expected
     0  0.250   0.500  expected
     2  0.125       -  best score of the rest`,
    ],
    [
      'toChooseExperts, none',
      () => expect(first).toChooseExperts(1, []),
      `expected token 1 to choose no expert in layer 0, and it chooses 1, 0

expert  score  weight
     1  0.500   0.500  chosen
     0  0.250   0.500  chosen
     2  0.125       -  best score of the rest`,
    ],
    [
      'toBeBalanced',
      () => expect(trace).toBeBalanced({ maxViolation: 0.5 }),
      `expected the busiest expert to have at most 1.5 times the mean load (maxViolation 0.5), and expert 0 of layer 1 has 1.6 times

expert  tokens
     0       2
     1       2
     3       0
on average 1.25`,
    ],
    [
      'not.toBeBalanced',
      () => expect(crowded).not.toBeBalanced({ maxViolation: 3 }),
      `expected the busiest expert to have more than 4 times the mean load (maxViolation 3), and expert 0 of layer 4 has 3.5 times

expert  tokens
     0       6
     6       1
on average 1.714`,
    ],
    [
      'toUseEveryExpert',
      () => expect(trace).toUseEveryExpert(),
      `expected every expert to get a token, and some get none

layer 1: 1 of 4 get none: 3`,
    ],
    [
      'not.toUseEveryExpert',
      () => expect(first).not.toUseEveryExpert(),
      'expected some expert to get no token, and every one gets some: the least, expert 2 of layer 0, gets 1',
    ],
    [
      'toDropNothing',
      () => expect(trace).toDropNothing(),
      `expected no assignment to be dropped, and 1 of 12 are

layer 1: token 2 (id 12) keeps 2 and loses 1 of 2`,
    ],
    [
      'not.toDropNothing',
      () => expect(first).not.toDropNothing(),
      'expected assignments to be dropped, and none of 6 is',
    ],
    [
      'toAgreeWith',
      () => expect(trace).toAgreeWith(elsewhere, { atLeast: 0.9 }),
      `expected at least 0.9 of the choices to be those of the other trace, and 0.818 are (9 of 11)

layer 0: token 0 (id 10) chooses 0, 1, there 0, 2
layer 0: token 2 (id 12) chooses 2, 3, there 3, 1`,
    ],
    [
      'not.toAgreeWith',
      () => expect(trace).not.toAgreeWith(smallTrace()),
      'expected fewer than 1 of the choices to be those of the other trace, and 1 are (11 of 11)',
    ],
    [
      'toHaveMargin',
      () => expect(trace).toHaveMargin(1, { above: 0.2 }),
      `expected the margin of token 1 (id 11) to be above 0.2, and it is 0.125 in layer 1

expert  score  weight
     0  0.500   0.600  chosen
     1  0.250   0.400  chosen
     2  0.125       -  best score of the rest`,
    ],
    [
      'not.toHaveMargin',
      () => expect(second).not.toHaveMargin(2, { above: 0.2 }),
      `expected the margin of token 2 to be at most 0.2, and nobody else can be chosen in layer 1

expert  score  weight
     2  0.250   0.400  chosen
     0  0.500       -  best score of the rest`,
    ],
  ])('%s', (_, assertion, message) => {
    expect(messageOf(assertion)).toBe(message)
  })

  test("deepseek's choosing bias decides, so the table shows what was compared; from JSON too", async () => {
    const model = await loadModel('tinymoe:deepseek', { device: 'cpu' })
    try {
      const { logits, trace } = model.forward([1, 22, 25, 13], { trace: true })
      logits.dispose()
      for (const given of [trace, joinTraces([trace]), traceFromJson(traceToJson(trace)).trace]) {
        const message = messageOf(() => expect(given).toHaveMargin(2, { above: 0.5, layer: 1 }))
        expect(
          message,
        ).toBe(`expected the margin of token 2 (id 25) to be above 0.5, and it is 0.014 in layer 1

expert  score  compared  weight
    15  0.230     0.270   0.572  chosen
     0  0.096     0.155   0.240  chosen
     2  0.076     0.132   0.188  chosen
    14  0.055     0.117       -  best of the rest, as compared`)
      }
    } finally {
      model.dispose()
    }
  })

  test('at most five experts, tokens or layers, and how many more', () => {
    const T = 8
    const dropped = layerOf({
      scores: Array.from({ length: T }, () => [0.5, 0.5]),
      experts: Array.from({ length: T }, () => [-1]),
    })
    const rows = [...rowsOf(4), ...rowsOf(4, 1)]
    expect(messageOf(() => expect({ ...trace, rows, layers: [dropped] }).toDropNothing())).toBe(
      `expected no assignment to be dropped, and 8 of 8 are

layer 0: token 0 (id 10) keeps none and loses 1 of 1
layer 0: token 1 (id 11) keeps none and loses 1 of 1
layer 0: token 2 (id 12) keeps none and loses 1 of 1
layer 0: token 3 (id 13) keeps none and loses 1 of 1
layer 0: token 4 (position 0 of sequence 1, id 10) keeps none and loses 1 of 1
and 3 more tokens`,
    )
    const even = layerOf({
      scores: Array.from({ length: 6 }, () => new Array(12).fill(1 / 12)),
      experts: [0, 1, 2, 3, 4, 5].map((e) => [e]),
    })
    expect(messageOf(() => expect(even).toBeBalanced({ maxViolation: 0.5 }))).toBe(
      `expected the busiest expert to have at most 1.5 times the mean load (maxViolation 0.5), and expert 0 of layer 0 has 2 times

expert  tokens
     0       1
     1       1
     2       1
     3       1
     4       1
    11       0
on average 0.5, 1 more above the limit`,
    )
  })
})

describe('nonsense is one sentence', () => {
  test.each<[() => void, string]>([
    [
      () => expect(3).toDropNothing(),
      'toDropNothing: expect was given 3, expected the trace of forward(tokens, { trace: true }) or one of its layers',
    ],
    [() => expect(null).toUseEveryExpert(), 'toUseEveryExpert: expect was given null, expected the trace'],
    [() => expect(dense).toUseEveryExpert(), 'toUseEveryExpert: every layer of the trace is dense'],
    [
      () => expect(trace).toChooseExperts(0, [0, 1]),
      'toChooseExperts: the trace has layers 0, 1, expected one of them: { layer: 0 }, or expect(trace.layers[0])',
    ],
    [
      () => expect(trace).toChooseExperts(0, [0, 1], { layer: 2 }),
      'toChooseExperts: the trace has no layer 2, expected one of 0, 1',
    ],
    [
      () => expect(first).toChooseExperts(0, [0, 1], { layer: 1 }),
      'toChooseExperts: layer is 1, and expect was given layer 0',
    ],
    [
      () => expect(first).toChooseExperts(3, [0, 1]),
      'toChooseExperts: token: is 3, expected a whole number from 0 to 2',
    ],
    [
      () => expect(first).not.toChooseExperts(0, [0, 4]),
      'toChooseExperts: experts are [0,4], expected up to 2 different ones from 0 to 3',
    ],
    [
      () => expect(first).not.toChooseExperts(0, [0, 0]),
      'toChooseExperts: experts are [0,0], expected up to 2',
    ],
    [
      () => expect(first).not.toChooseExperts(0, [0, 1, 2]),
      'toChooseExperts: experts are [0,1,2], expected up to 2',
    ],
    [
      () => expect(first).not.toChooseExperts(0, 1 as never),
      'toChooseExperts: experts are 1, expected up to 2',
    ],
    [
      () => expect(first).toBeBalanced({} as never),
      'toBeBalanced: maxViolation is undefined, expected a number from 0',
    ],
    [
      () => expect(first).toBeBalanced(0.5 as never),
      'toBeBalanced: options: is 0.5, expected { maxViolation }',
    ],
    [
      () => expect(first).not.toAgreeWith(first, { atLeast: 90 }),
      'toAgreeWith: atLeast is 90, expected a number from 0 to 1',
    ],
    [() => expect(first).toAgreeWith(undefined as never), 'toAgreeWith: other: expect was given undefined'],
    [
      () => expect(trace).not.toAgreeWith(first),
      'toAgreeWith: the other trace has layers 0, expected 0, 1 as in this one',
    ],
    [
      () => expect(crowded).not.toAgreeWith({ ...crowded, layer: 0 }),
      'toAgreeWith: the other trace has layers 0, expected 4 as in this one',
    ],
    [
      () => expect(first).not.toAgreeWith({ ...crowded, layer: 0 }),
      'toAgreeWith: the other trace has 6 tokens, expected 3 as in this one',
    ],
    [
      () => expect(first).toHaveMargin(0, {} as never),
      'toHaveMargin: above is undefined, expected a number from 0',
    ],
  ])('%s', (assertion, sentence) => {
    expect(assertion).toThrow(InputError)
    expect(assertion).toThrow(sentence)
  })
})

test('a trace in a snapshot is a small heat map', () => {
  expect(trace).toMatchInlineSnapshot(`
    trace of 3 tokens, 2 layers with a router
                       layer 0   layer 1
               expert   0 1 2 3   0 1 2 3
                0  10  ██▒▒ · ·  ██▓▓ · ·
                1  11  ████ · ·  ██▓▓ · ·
                2  12   · ·██░░   · ·██ · ×1
               tokens   2 2 1 1   2 2 1 0
    load-balance loss  1.06      1.27
  `)
  expect(dense).toMatchInlineSnapshot(`trace of 3 tokens, 0 layers with a router`)
})

test("vitest's expect has the matchers by type", () => {
  expectTypeOf(expect(trace).toChooseExperts).parameters.toEqualTypeOf<
    [token: number, experts: readonly number[], options?: { layer?: number }]
  >()
  expectTypeOf(expect(trace).not.toBeBalanced).parameter(0).toEqualTypeOf<{ maxViolation: number }>()
  // @ts-expect-error: a share is a number
  const wrong = () => expect(trace).toAgreeWith(trace, { atLeast: 'most' })
  expect(wrong).toThrow(InputError)
})
