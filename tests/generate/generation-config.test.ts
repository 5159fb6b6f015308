import { expect, test } from 'vitest'
import { filesInMemory } from '../../src/checkpoint/source.ts'
import { readGenerationConfig, settingsOf } from '../../src/generate/generation-config.ts'

function read(json: unknown) {
  const bytes = new TextEncoder().encode(JSON.stringify(json))
  return readGenerationConfig(filesInMemory('m', new Map([['generation_config.json', bytes]])))!
}

test('a directory without one', () => {
  expect(readGenerationConfig(filesInMemory('m', new Map()))).toBeNull()
})

test.each<[object, object]>([
  [{}, {}],
  [{ bos_token_id: 1, eos_token_id: 2, pad_token_id: 0, _from_model_config: true, max_length: 4096 }, {}],
  [{ do_sample: true }, { temperature: 1, topK: 50 }],
  [
    { do_sample: true, temperature: 0.6, top_p: 0.9, top_k: 0 },
    { temperature: 0.6, topK: 0, topP: 0.9 },
  ],
  [
    { do_sample: true, temperature: null, top_k: null },
    { temperature: 1, topK: 50 },
  ],
  [{ do_sample: false }, { temperature: 0 }],
  [
    { temperature: 0.6, top_p: 0.9, top_k: 20 },
    { temperature: 0, topK: 20, topP: 0.9 },
  ],
  [
    { min_p: 0.05, repetition_penalty: 1.1, max_new_tokens: 7 },
    { minP: 0.05, repetitionPenalty: 1.1, maxTokens: 7 },
  ],
  [{ stop_strings: 'END' }, { stop: ['END'] }],
  [{ stop_strings: ['a', 'b'] }, { stop: ['a', 'b'] }],
])('%o gives %o', (json, options) => {
  expect(read(json).options).toEqual(options)
})

test('ids that end a text: one, several, none', () => {
  expect(read({ eos_token_id: 3 }).eosTokenIds).toEqual([3])
  expect(read({ eos_token_id: [3, 4] }).eosTokenIds).toEqual([3, 4])
  expect([read({ eos_token_id: null }).eosTokenIds, read({}).eosTokenIds]).toEqual([null, null])
})

test('what would change the text and is not followed', () => {
  const neutral = { num_beams: 1, no_repeat_ngram_size: 0, typical_p: 1, penalty_alpha: null, min_length: 0 }
  expect(read(neutral).notFollowed).toEqual({})
  const more = { num_beams: 4, no_repeat_ngram_size: 3, length_penalty: 2, suppress_tokens: [1] }
  expect(read(more).notFollowed).toEqual({ num_beams: 4, no_repeat_ngram_size: 3, suppress_tokens: [1] })
})

test.each([
  [{ temperature: 'hot' }, 'm/generation_config.json: "temperature" is "hot", expected number'],
  [{ top_p: 2 }, '"top_p" is 2'],
  [{ eos_token_id: ['x'] }, '"eos_token_id" is ["x"]'],
  [[], 'm/generation_config.json: "the whole file" is []'],
])('%o is refused by name', (json, message) => {
  expect(() => read(json)).toThrow(message)
})

test('what is given wins, and each value has its source', () => {
  const file = read({ do_sample: true, temperature: 0.6, max_new_tokens: 9 })
  expect(settingsOf({ temperature: 0, topP: undefined }, file)).toEqual({
    temperature: { value: 0, source: 'option' },
    topK: { value: 50, source: 'generation_config.json' },
    topP: { value: 1, source: 'default' },
    minP: { value: 0, source: 'default' },
    repetitionPenalty: { value: 1, source: 'default' },
    maxTokens: { value: 9, source: 'generation_config.json' },
    stop: { value: [], source: 'default' },
  })
  expect(settingsOf({}, null).maxTokens).toEqual({ value: 64, source: 'default' })
})
