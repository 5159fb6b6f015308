import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { InputError } from '../../src/errors.ts'
import { traceFromJson, traceToJson } from '../../src/trace/json.ts'
import { traceSchema } from '../../src/trace/schema.ts'
import { layerStatistics } from '../../src/trace/statistics.ts'
import { anyTrace, smallTrace } from './traces.ts'

const texts = ['Once', ' upon', '\n"\u2028</script>']

test('a trace and its texts read back as they were, signs of zero and infinities included', () => {
  fc.assert(
    fc.property(anyTrace, fc.boolean(), (trace, withText) => {
      const own = withText ? trace.rows.map(({ token }) => `t${token}"\\\n`) : null
      expect(traceFromJson(traceToJson(trace, own))).toEqual({ trace, texts: own })
    }),
  )
})

test('hidden states read back too', () => {
  const values = Float32Array.from({ length: 6 }, (_, i) => i / 3)
  const hiddenStates = {
    embed: values,
    layers: [{ attention: values, feedForward: values, output: values }],
    finalNorm: values,
  }
  const trace = { ...smallTrace(), hiddenStates }
  expect(traceFromJson(traceToJson(trace)).trace).toEqual(trace)
})

test('the text is JSON of the documented form, statistics included', () => {
  const trace = smallTrace()
  const json = JSON.parse(traceToJson(trace, texts))
  expect(traceSchema.parse(json)).toEqual(json)
  expect(json.rows[1]).toEqual({ sequence: 0, position: 1, token: 11, text: ' upon' })
  expect(json.layers[1].expertIndices).toEqual([
    [0, 1],
    [0, 1],
    [-1, 2],
  ])
  const { layer: _, ...statistics } = layerStatistics(trace.layers[1], trace.rows)
  expect(json.layers[1].statistics).toEqual(statistics)
})

test('the interventions of a run are in its trace, a replayed one without its numbers', () => {
  const trace = smallTrace()
  const given = { topK: 1, disable: [{ expert: 3 }] }
  expect(JSON.parse(traceToJson({ ...trace, interventions: given })).interventions).toEqual(given)
  const replayed = { ...trace, interventions: { replace: { by: 'trace' as const, trace } } }
  expect(JSON.parse(traceToJson(replayed)).interventions).toEqual({ replace: { by: 'trace' } })
  expect(JSON.parse(traceToJson(trace)).interventions).toBeUndefined()
})

test('interventions and the lengths of calls read back, a replay as one of the trace itself', () => {
  const trace = { ...smallTrace(), interventions: { topK: 1, disable: [{ expert: 3 }] }, callLengths: [2, 1] }
  expect(traceFromJson(traceToJson(trace)).trace).toEqual(trace)
  const replayed = { ...trace, interventions: { replace: { by: 'trace' as const, trace } } }
  const read = traceFromJson(traceToJson(replayed)).trace
  expect(read.interventions?.replace).toEqual({ by: 'trace', trace: read })
})

test('docs/trace.schema.json says what the reader checks', () => {
  const file = new URL('../../docs/trace.schema.json', import.meta.url)
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(z.toJSONSchema(traceSchema))
})

test.each<[string, (json: ReturnType<typeof smallJson>) => void, string]>([
  ['another format', (json) => (json.format = 'x'), 'trace: format: invalid input: expected "tinymoe-trace"'],
  ['a later version', (json) => (json.version = 2), 'trace: version: invalid input: expected 1'],
  ['no tokens', (json) => (json.rows = []), 'trace: rows: too small: expected array to have >=1 items'],
  [
    'a value that is none',
    (json) => (json.layers[0].scores[2][1] = 'high'),
    'trace: layers[0].scores[2][1]: expected a number, "NaN", "Infinity" or "-Infinity"',
  ],
  [
    'an intervention that there is not',
    (json) => (json.interventions = { topk: 1 }),
    'trace: interventions: is "topk", expected one of topK, temperature, disable, bias, force, replace, capacity; the nearest is topK',
  ],
  [
    'calls of other lengths',
    (json) => (json.callLengths = [1, 1]),
    'trace: callLengths sum to 2, expected 3 as in rows',
  ],
  ['a field too many', (json) => (json.layers[1].extra = 1), 'trace: layers[1]: unrecognized key: "extra"'],
  [
    'a row too few',
    (json) => json.layers[0].scores.pop(),
    'trace: layers[0].scores has 2 rows, expected 3 as in rows',
  ],
  [
    'a short row',
    (json) => json.layers[0].expertWeights[1].pop(),
    'trace: layers[0].expertWeights[1] has 1 values, expected 2',
  ],
  [
    'an expert that does not exist',
    (json) => (json.layers[0].expertIndices[1][0] = 4),
    'trace: layers[0].expertIndices[1] is [4,0], expected different experts from 0 to 3, or -1',
  ],
  [
    'an expert twice',
    (json) => (json.layers[0].expertIndices[1][0] = 0),
    'trace: layers[0].expertIndices[1] is [0,0], expected different experts from 0 to 3, or -1',
  ],
  [
    'counts that are wrong',
    (json) => (json.layers[1].tokensPerExpert[3] = 1),
    'trace: layers[1].tokensPerExpert is [2,2,1,1], expected [2,2,1,0] as counted from expertIndices',
  ],
  [
    'a margin too few',
    (json) => json.layers[0].margins.pop(),
    'trace: layers[0].margins has 2 values, expected 3 as in rows',
  ],
  [
    'an entropy too few',
    (json) => json.layers[0].entropies.pop(),
    'trace: layers[0].entropies has 2 values, expected 3 as in rows',
  ],
  [
    'K above E',
    (json) => (json.layers[0].topK = 5),
    'trace: layers[0].topK is 5, expected at most numExperts=4',
  ],
])('%s is one sentence', (_, spoil, message) => {
  const json = smallJson()
  spoil(json)
  expect(() => traceFromJson(JSON.stringify(json))).toThrow(new InputError(message))
})

test('a text that is no JSON, or no object, says so with its file', () => {
  expect(() => traceFromJson('{', 'a.json')).toThrow(/^a\.json: not JSON \(/)
  expect(() => traceFromJson('3', 'a.json')).toThrow(
    new InputError('a.json: invalid input: expected object, received number'),
  )
})

// biome-ignore lint/suspicious/noExplicitAny: it is there to be spoiled
function smallJson(): any {
  return JSON.parse(traceToJson(smallTrace()))
}
