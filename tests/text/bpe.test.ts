import { Tokenizer } from '@huggingface/tokenizers'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InputError } from '../../src/errors.ts'
import { type BpeOptions, beginningWith, trainBpe } from '../../src/text/bpe.ts'

const specialTokens = ['<pad>', '<s>', '</s>']
const none: string[] = []
const times = (count: number, text: string) => Array<string>(count).fill(text)

// The example of Sennrich et al. 2016, figure 1, without the end-of-word sign.
const sennrich = [...times(5, 'low'), ...times(2, 'lower'), ...times(6, 'newest'), ...times(3, 'widest')]

function load(texts: string[], options: BpeOptions): Tokenizer {
  // Through text, as from a file. The clean-up is for word-level tokenizers: it would eat spaces before commas.
  return new Tokenizer(JSON.parse(JSON.stringify(trainBpe(texts, options))), {
    clean_up_tokenization_spaces: false,
  })
}

describe('merges', () => {
  const merges = (texts: string[], count: number) =>
    trainBpe(texts, { vocabSize: 256 + count, specialTokens: none }).model.merges

  test('of a corpus counted by hand', () => {
    // At first es 9, st 9, we 8, lo 7, ow 7, ne 6, ew 6; then est 9; then lo 7, ow 7; then ew 6, ne 6, w+est 6; then
    // ew+est 6, n+ew 6; then n+ewest 6; then d+est 3, id 3, wi 3.
    expect(merges(sennrich, 8)).toEqual([
      ['e', 's'],
      ['es', 't'],
      ['l', 'o'],
      ['lo', 'w'],
      ['e', 'w'],
      ['ew', 'est'],
      ['n', 'ewest'],
      ['d', 'est'],
    ])
  })

  test('of overlapping pairs go from the left', () => {
    // aaaaa: aa 4 -> aa aa a: aa+a 1, aa+aa 1 -> the first by name
    expect(merges(['aaaaa'], 2)).toEqual([
      ['a', 'a'],
      ['aa', 'a'],
    ])
  })

  test('do not cross words, and a word takes the space before it', () => {
    expect(merges(['b b b b', 'b b b b'], 9)).toEqual([['Ġ', 'b']])
    expect(merges(["it's"], 9)).toEqual([
      ["'", 's'],
      ['i', 't'],
    ])
    expect(merges(['a1!'], 9)).toEqual([])
  })

  test('are over bytes: a letter outside ASCII is two', () => {
    expect(merges(['éé'], 1)).toEqual([['Ã', '©']])
  })

  test('that spell one token share its id', () => {
    const texts = [
      ...times(9, 'ab'),
      ...times(8, 'bc'),
      ...times(5, 'abc'),
      ...times(4, 'a bcx'),
      ...times(9, 'xbc'),
    ]
    const { merges: all, vocab } = trainBpe(texts, { vocabSize: 400, specialTokens: none }).model
    expect(Object.keys(vocab).length).toBeLessThan(256 + all.length + 1)
    expect(new Set(Object.values(vocab)).size).toBe(Object.keys(vocab).length)
    for (const pair of all) expect(vocab).toHaveProperty([pair.join('')])
  })

  test('leave digits single where asked to', () => {
    const texts = times(9, 'in 1987 or 1987, x1987')
    const joined = load(texts, { vocabSize: 300, specialTokens })
    const single = load(texts, { vocabSize: 300, specialTokens, individualDigits: true })
    expect(joined.tokenize('x 1987')).toEqual(['x', 'Ġ1987'])
    expect(single.tokenize('x 1987')).toEqual(['x', 'Ġ', '1', '9', '8', '7'])
    expect(single.decode(single.encode('in 1987, or').ids)).toBe('in 1987, or')
  })

  test('depend on nothing but the texts', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'b', ' ', 'c') })), (texts) => {
        expect(merges([...texts].reverse(), 20)).toEqual(merges(texts, 20))
      }),
    )
  })

  test('are what counting everything anew before each merge gives', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 12 })
    fc.assert(
      fc.property(fc.array(letters, { minLength: 1, maxLength: 6 }), (words) => {
        expect(merges(words, 12)).toEqual(mergesByDefinition(words, 12))
      }),
    )
  })
})

/** BPE as defined, for words of plain letters: counts every pair of every word before each merge. */
function mergesByDefinition(words: string[], newTokens: number): [string, string][] {
  let split = words.map((word) => [...word])
  const merges: [string, string][] = []
  const made = new Set<string>()
  while (made.size < newTokens) {
    const counts = new Map<string, number>()
    for (const symbols of split) {
      for (let i = 1; i < symbols.length; i++) {
        const pair = `${symbols[i - 1]} ${symbols[i]}` // a space sorts before every letter
        counts.set(pair, (counts.get(pair) ?? 0) + 1)
      }
    }
    if (counts.size === 0) break
    const [[best]] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    const [left, right] = best.split(' ')
    split = split.map((symbols) => {
      const merged: string[] = []
      for (let i = 0; i < symbols.length; i++) {
        const isPair = symbols[i] === left && symbols[i + 1] === right
        merged.push(isPair ? left + right : symbols[i])
        if (isPair) i++
      }
      return merged
    })
    merges.push([left, right])
    made.add(left + right)
  }
  return merges
}

describe('the tokenizer', () => {
  const tokenizer = load(sennrich, { vocabSize: 267, specialTokens })

  test('has the special tokens first, the bytes in order, then the merges', () => {
    const { added_tokens, model } = trainBpe(sennrich, { vocabSize: 267, specialTokens })
    expect(added_tokens.map(({ id, content, special }) => [id, content, special])).toEqual([
      [0, '<pad>', true],
      [1, '<s>', true],
      [2, '</s>', true],
    ])
    const { '<s>': s, '!': first, a, Ġ: space, es, dest } = model.vocab
    // 3 + (97 - 33) for 'a', 3 + 188 visible bytes + 32 control characters for the space
    expect([s, first, a, space, es, dest]).toEqual([1, 3, 67, 223, 259, 266])
    expect(Object.keys(model.vocab)).toHaveLength(267)
  })

  test('encodes by its merges', () => {
    expect(tokenizer.tokenize('lowest newest')).toEqual(['low', 'est', 'Ġ', 'newest'])
    expect(tokenizer.encode('<s>low</s>').ids).toEqual([1, 262, 2])
    expect(tokenizer.decode([1, 262, 2], { skip_special_tokens: true })).toBe('low')
  })

  test('gives any text back', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', minLength: 1 }), // any code points, control characters and unassigned ones too
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.string({
        unit: fc.constantFrom(' ', '\n', '\u0085', '\ufeff', "'", 's', '1', '<s>', 'é', '👩‍🚀'),
        minLength: 1,
      }),
    )
    const texts = ['The cat sat on the mat. '.repeat(9), 'naïve café 👩‍🚀👩‍🚀 日本語日本語', '\n\n  x  \n\n']
    for (const trained of [tokenizer, load(texts, { vocabSize: 300, specialTokens })]) {
      fc.assert(
        fc.property(text, (value) => {
          expect(trained.decode(trained.encode(value).ids)).toBe(value)
        }),
      )
    }
  })

  test('does not learn from special tokens in the texts, the longer one cut out first', () => {
    const specials = ['<s>', '<s>x', '[a-z.*]']
    const { merges, vocab } = trainBpe(['<s>xab[a-z.*]ab<s>ab'], {
      vocabSize: 270,
      specialTokens: specials,
    }).model
    expect(merges).toEqual([['a', 'b']])
    expect(vocab.ab).toBe(259)
  })

  test('is as small as it must be where there is nothing to learn', () => {
    const { merges, vocab } = trainBpe([], { vocabSize: 1000, specialTokens }).model
    expect([merges.length, Object.keys(vocab).length]).toEqual([0, 259])
    expect(load([], { vocabSize: 259, specialTokens }).tokenize('é')).toEqual(['Ã', '©'])
  })

  test('is the one that Python loads with the same ids', () => {
    // tokenizers 0.23.3: Tokenizer.from_str(json).encode(text).ids, json as trained here
    const text = "Low\u0085 \ufeff slowest,  it's\n\n2 newest <s>日本 \u00ad👩‍🚀\u00a0x</s>"
    // biome-ignore format: a table
    expect(tokenizer.encode(text).ids).toEqual([
      46, 81, 89, 129, 230, 223, 174, 122, 126, 223, 85, 262, 260, 14, 223, 223, 75, 86, 9, 85, 201, 201, 20, 223, 265, 223,
      1, 165, 248, 101, 165, 253, 108, 223, 129, 258, 175, 256, 242, 105, 161, 225, 238, 175, 256, 251, 225, 129, 257, 90, 2,
    ])
  })
})

test('beginningWith puts its token in front of a text, and of each of two', () => {
  const json = beginningWith(trainBpe(sennrich, { vocabSize: 267, specialTokens }), '<s>')
  const tokenizer = new Tokenizer(JSON.parse(JSON.stringify(json)), {})
  // tokenizers 0.23.3, Tokenizer.from_str(json): encode('low'), encode('low', 'est'), encode(''), and without special tokens
  expect(tokenizer.encode('low').ids).toEqual([1, 262])
  expect(tokenizer.encode('low', { text_pair: 'est' }).ids).toEqual([1, 262, 1, 260])
  expect(tokenizer.encode('').ids).toEqual([1])
  expect(tokenizer.encode('low', { add_special_tokens: false }).ids).toEqual([262])
})

describe('options out of range', () => {
  const rejects = (options: BpeOptions, sentence: string) => {
    expect(() => trainBpe([], options)).toThrow(InputError)
    expect(() => trainBpe([], options)).toThrow(sentence)
  }

  test.each([258, 300.5, NaN])('vocabSize %d', (vocabSize) =>
    rejects(
      { vocabSize, specialTokens },
      `vocabSize is ${vocabSize}, expected at least 259: 3 special tokens and 256`,
    ),
  )

  test.each(['', '<', '<a b>', '<é>', 'Ġa'])('special token %j', (token) =>
    rejects(
      { vocabSize: 300, specialTokens: [token] },
      `special token ${JSON.stringify(token)} is not two or more`,
    ),
  )

  test('special token twice', () => {
    rejects({ vocabSize: 300, specialTokens: ['<s>', '<s>'] }, 'special token "<s>" is given twice')
  })
})

test('a megabyte of text is learned in seconds', () => {
  // Words like a language's: some frequent, most rare, all spelled from few syllables.
  const syllables = ['ka', 'to', 'mi', 'ren', 'sha', 'vo', 'lu', 'pe', 'str', 'ing', 'ed', 'a']
  let seed = 1
  const random = () => {
    seed = (seed * 16807) % 2147483647 // Park and Miller's generator
    return seed / 2147483647
  }
  const word = () =>
    Array.from({ length: 1 + 4 * random() }, () => syllables[Math.floor(12 * random() ** 2)]).join('')
  const text = Array.from({ length: 160_000 }, word).join(' ')
  expect(text.length).toBeGreaterThan(1_000_000)
  const start = process.cpuUsage() // not the clock: other programs may keep the machine busy
  const { model } = trainBpe([text], { vocabSize: 1024, specialTokens })
  expect(process.cpuUsage(start).user / 1000).toBeLessThan(12_000)
  expect(Object.keys(model.vocab)).toHaveLength(1024)
})
