import { describe, expect, test } from 'vitest'
import { CheckpointError } from '../../src/errors.ts'
import { checkFormat } from '../../src/tokenizer/format.ts'

const BPE = { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: ['a b'] }
const model = (changed: object) => ({ model: { ...BPE, ...changed } })

describe('a tokenizer that is taken', () => {
  test.each<[string, object]>([
    ['merges as texts', { model: BPE }],
    ['merges as pairs', model({ merges: [['a', 'b']] })],
    [
      'a prefix that merging drops',
      model({ vocab: { a: 0, '##b': 1, ab: 2 }, merges: ['a ##b'], continuing_subword_prefix: '##' }),
    ],
    ['a space in a token', model({ vocab: { ' ': 0, a: 1, ' a': 2 }, merges: [[' ', 'a']] })],
    ['words', { model: { type: 'WordLevel', vocab: { a: 0 }, unk_token: 'a' } }],
    [
      'pieces with scores',
      {
        model: {
          type: 'Unigram',
          unk_id: 0,
          vocab: [
            ['<unk>', 0],
            ['a', -1.5],
          ],
        },
      },
    ],
    [
      'parts and added tokens',
      { ...model({}), decoder: { type: 'ByteLevel' }, added_tokens: [{ id: 3, content: '<s>' }] },
    ],
    ['a line of the version before the merges', model({ merges: ['#version: 0.2', 'a b'] })],
    ['a model of an older file, without its type', { model: { vocab: BPE.vocab, merges: BPE.merges } }],
  ])('%s', (_, json) => {
    checkFormat(json as Record<string, unknown>, 'f')
  })
})

describe('a tokenizer that is refused', () => {
  test.each<[object, string]>([
    [
      { model: [] },
      'has no "model" with a "vocab", expected a tokenizer of the Hugging Face tokenizers library',
    ],
    [model({ type: 'Magic' }), 'model.type is "Magic", expected one of BPE, WordPiece, WordLevel, Unigram'],
    [model({ vocab: {} }), 'model.vocab is {}, expected at least one token'],
    [model({ vocab: ['a', 'b'] }), 'model.vocab is ["a","b"], expected an object of token to id'],
    [model({ vocab: null }), 'model.vocab is null, expected an object of token to id'],
    [model({ vocab: 'abc' }), 'model.vocab is "abc", expected an object of token to id'],
    [model({ vocab: { a: '0' } }), 'model.vocab["a"] is "0", expected a whole number from 0 to 4294967295'],
    [model({ vocab: { a: -1 } }), 'model.vocab["a"] is -1, expected a whole number from 0 to 4294967295'],
    [model({ vocab: { a: 0.5 } }), 'model.vocab["a"] is 0.5, expected a whole number from 0 to 4294967295'],
    [
      model({ vocab: { '\x1b[2J': null } }),
      'model.vocab["\\u{1b}[2J"] is null, expected a whole number from 0 to 4294967295',
    ],
    [model({ merges: null }), 'model.merges is null, expected a list of pairs of tokens'],
    [model({ merges: undefined }), 'model.merges is undefined, expected a list of pairs of tokens'],
    [model({ merges: { a: 'b' } }), 'model.merges is {"a":"b"}, expected a list of pairs of tokens'],
    ...[null, 7, 'ab', 'a b c', '', ['a'], ['a', 1], ['a', 'b', 'c'], 'b a', 'x y'].map(
      (merge): [object, string] => [
        model({ merges: ['a b', merge] }),
        `model.merges[1] is ${JSON.stringify(merge)}, expected two tokens of model.vocab that make a third one, such as ["a", "b"] or "a b"`,
      ],
    ),
    [{ model: { type: 'Unigram', vocab: [] } }, 'model.vocab is [], expected a list of [piece, score]'],
    [
      { model: { type: 'Unigram', vocab: [['a', 0], ['b']] } },
      'model.vocab[1] is ["b"], expected [piece, score]',
    ],
    [{ ...model({}), added_tokens: {} }, 'added_tokens is {}, expected a list of tokens'],
    [
      { ...model({}), added_tokens: [null] },
      'added_tokens[0] is null, expected an object with "id" and "content"',
    ],
    [
      { ...model({}), added_tokens: [{ id: '1', content: 'x' }] },
      'added_tokens[0].id is "1", expected a whole number from 0 to 4294967295',
    ],
    [
      { ...model({}), added_tokens: [{ id: 1, content: 7 }] },
      'added_tokens[0].content is 7, expected a text',
    ],
    [
      { ...model({}), decoder: 'ByteLevel' },
      'decoder is "ByteLevel", expected null or an object with a "type"',
    ],
    [{ ...model({}), normalizer: {} }, 'normalizer is {}, expected null or an object with a "type"'],
  ])('%j', (json, message) => {
    expect(() => checkFormat(json as Record<string, unknown>, 'f.json')).toThrow(
      new CheckpointError(`f.json: ${message}`),
    )
  })
})
