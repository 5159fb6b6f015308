import * as tf from '@tensorflow/tfjs-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startRuntime } from '../../src/device/index.ts'
import { InputError } from '../../src/errors.ts'
import { type GenerativeModel, generate, PREFILL_CHUNK } from '../../src/generate/generate.ts'
import { DEFAULT_MAX_TOKENS } from '../../src/generate/generation-config.ts'
import type { GeneratedToken, GenerateOptions, GenerateResult } from '../../src/generate/types.ts'
import { KvCache } from '../../src/model/kv-cache.ts'
import { mostLikelyTokens } from '../../src/model/most-likely.ts'
import type { MoeModel } from '../../src/model/transformer.ts'
import { DISPATCHES } from '../../src/model/ways.ts'
import { loadTokenizer } from '../../src/tokenizer/load.ts'
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts'
import { fixtureModel, readGolden } from '../helpers/golden.ts'
import { tokenizerDir } from './fixtures.ts'

const EOS = 2

/** A model that writes one token after the other from a list, over and over, and notes what it was fed. */
function scripted(script: readonly number[], maxPositionEmbeddings = 4096) {
  const fed: number[][] = []
  let written = 0
  const model: GenerativeModel = {
    config: { maxPositionEmbeddings, eosTokenIds: [EOS] },
    createCache: () => new KvCache({ weights: {}, layers: [], maxPositionEmbeddings }),
    forward(tokens) {
      fed.push(tokens)
      const isPrompt = fed.length === 1 || tokens.length > 1
      written = isPrompt ? 0 : written + 1
      return { logits: tf.oneHot([script[written % script.length]], 600), trace: null }
    },
    greedy(tokens, options) {
      const { logits, trace } = this.forward(tokens, options)
      const chosen = mostLikelyTokens(logits)
      logits.dispose()
      return { tokens: chosen, trace }
    },
  }
  return { model, fed }
}

async function collect(result: GenerateResult): Promise<GeneratedToken[]> {
  const all: GeneratedToken[] = []
  for await (const piece of result) all.push(piece)
  return all
}

let tokenizer: Tokenizer
beforeAll(async () => {
  await startRuntime({ device: 'cpu' })
  tokenizer = (await loadTokenizer(tokenizerDir('')))!
})

describe('with the Mixtral fixture', () => {
  const golden = readGolden('mixtral/golden.json')
  const prompt = golden.prompts[0].input_ids
  let model: MoeModel
  let before: number
  beforeAll(() => {
    model = fixtureModel('mixtral')
  })
  beforeEach(() => {
    before = tf.memory().numTensors
  })
  afterAll(() => model.dispose())

  test.each(golden.generation)(
    "gives the reference's 24 tokens after the $prompt prompt",
    async ({ prompt, tokens }) => {
      const ids = golden.prompts.find(({ name }) => name === prompt)!.input_ids
      const result = await generate(model, null, { tokens: ids, maxTokens: 24 }).done
      expect(result).toMatchObject({
        tokens,
        text: '',
        promptTokens: ids.length,
        finishReason: 'length',
        traces: [],
      })
      expect(tf.memory().numTensors).toBe(before)
    },
  )

  test('each dispatch gives the same', async () => {
    for (const dispatch of DISPATCHES) {
      const { tokens } = await generate(model, null, { tokens: prompt, maxTokens: 24, dispatch }).done
      expect(tokens).toEqual(golden.generation[0].tokens)
    }
  })

  test('the trace holds the routing of prompt and tokens, in order', async () => {
    const run = generate(model, null, { tokens: prompt, maxTokens: 4, trace: true })
    const made: unknown[] = []
    for await (const { trace } of run) made.push(trace)
    const { traces } = await run.done
    expect(made).toEqual(traces.slice(-4)) // each token comes with the call that chose it
    expect(traces.map(({ layers }) => layers[0].expertIndices.length / layers[0].topK)).toEqual([
      prompt.length,
      1,
      1,
      1,
    ])
    expect(traces[0].layers.map(({ layer }) => layer)).toEqual(golden.moe_layers)
  })

  test('one seed gives one text, another seed another', async () => {
    const run = async (seed?: number) =>
      (
        await generate(model, null, { tokens: prompt, maxTokens: 32, temperature: 2, ignoreEos: true, seed })
          .done
      ).tokens
    const first = await run()
    expect(await run()).toEqual(first)
    expect(await run(0)).toEqual(first)
    expect(await run(1)).not.toEqual(first)
    expect(tf.memory().numTensors).toBe(before)
  })

  test('two runs at once do not disturb each other', async () => {
    const runs = golden.generation.map(({ prompt }) => {
      const ids = golden.prompts.find(({ name }) => name === prompt)!.input_ids
      return generate(model, null, { tokens: ids, maxTokens: 24 }).done
    })
    expect((await Promise.all(runs)).map(({ tokens }) => tokens)).toEqual(
      golden.generation.map(({ tokens }) => tokens),
    )
  })

  test('leaving the iteration early frees the cache', async () => {
    const result = generate(model, null, { tokens: prompt })
    for await (const _ of result) break
    expect(tf.memory().numTensors).toBe(before)
    expect(await result.done).toMatchObject({
      tokens: golden.generation[0].tokens.slice(0, 1),
      finishReason: 'aborted',
    })
  })

  test('an abort ends the run with what there is, and frees the cache', async () => {
    const controller = new AbortController()
    const result = generate(model, null, { tokens: prompt, maxTokens: 200, signal: controller.signal })
    const all: number[] = []
    for await (const { token } of result) if (all.push(token) === 3) controller.abort()
    expect(all).toEqual(golden.generation[0].tokens.slice(0, 3))
    expect((await result.done).finishReason).toBe('aborted')
    expect(tf.memory().numTensors).toBe(before)
  })

  test('a timer can abort a run that nobody iterates', async () => {
    const signal = AbortSignal.timeout(50)
    const { finishReason, tokens } = await generate(model, null, {
      tokens: prompt,
      maxTokens: 249,
      signal,
      ignoreEos: true,
    }).done
    expect(finishReason).toBe('aborted')
    expect(tokens.length).toBeLessThan(249)
  })

  test('an error in the run reaches every reader, and frees the cache', async () => {
    const result = generate(model, null, { tokens: [1, 999] })
    const message = 'tokens: sequence 0 has 999 at position 1, expected an integer from 0 to 159'
    await expect(collect(result)).rejects.toThrow(new InputError(message))
    await expect(result.done).rejects.toThrow(message)
    await expect(collect(result)).rejects.toThrow(message)
    expect(tf.memory().numTensors).toBe(before)
  })

  test('nothing runs until the result is read', () => {
    generate(model, null, { tokens: prompt })
    expect(tf.memory().numTensors).toBe(before)
  })

  test('stops at maxPositionEmbeddings', async () => {
    const long = Array.from({ length: 250 }, (_, i) => 3 + (i % 150))
    const result = await generate(model, null, { tokens: long, maxTokens: 20, ignoreEos: true }).done
    expect(result.tokens.length).toBe(6)
    expect(result.finishReason).toBe('length')
  })
})

describe('with a scripted model', () => {
  const ids = (text: string) => tokenizer.encode(text, { addSpecialTokens: false })

  test('iteration and done share one run, in either order', async () => {
    const { model, fed } = scripted([7, 8, 9])
    const result = generate(model, null, { tokens: [5], maxTokens: 5 })
    const done = result.done
    const tokens = (await collect(result)).map(({ token }) => token)
    expect(tokens).toEqual([7, 8, 9, 7, 8])
    expect((await done).tokens).toEqual(tokens)
    expect((await collect(result)).map(({ token }) => token)).toEqual(tokens)
    expect(fed.length).toBe(5)
  })

  test('ends at end of sequence, which is a token but no text', async () => {
    const { model } = scripted([...(await ids('Hi')), EOS])
    const result = generate(model, tokenizer, { tokens: [5] })
    expect((await collect(result)).map(({ text }) => text).join('')).toBe('Hi')
    expect(await result.done).toMatchObject({
      tokens: [...(await ids('Hi')), EOS],
      text: 'Hi',
      finishReason: 'eos',
    })
  })

  test('ignoreEos goes on, to 64 tokens where nothing is said', async () => {
    const { model } = scripted([7, EOS])
    const { tokens, finishReason } = await generate(model, null, { tokens: [5], ignoreEos: true }).done
    expect(tokens.length).toBe(DEFAULT_MAX_TOKENS)
    expect(finishReason).toBe('length')
  })

  test('a long prompt is fed in chunks, each token once', async () => {
    const { model, fed } = scripted([7])
    const tokens = Array.from({ length: 2 * PREFILL_CHUNK + 100 }, (_, i) => i % 600)
    await generate(model, null, { tokens, maxTokens: 2 }).done
    expect(fed.map(({ length }) => length)).toEqual([PREFILL_CHUNK, PREFILL_CHUNK, 100, 1])
    expect(fed.flat()).toEqual([...tokens, 7])
  })

  test('text comes as whole characters and joins to the text', async () => {
    const { model } = scripted([...(await ids('naïve 😀 混合')), EOS])
    const result = generate(model, tokenizer, { tokens: [5] })
    const texts = (await collect(result)).map(({ text }) => text)
    expect(texts.join('')).toBe('naïve 😀 混合')
    expect(texts.join('')).toBe((await result.done).text)
    expect(texts.filter((text) => text.includes('\uFFFD'))).toEqual([])
  })

  test('a cut character at the end is marked', async () => {
    const { model } = scripted(await ids('x😀'))
    const { text } = await generate(model, tokenizer, {
      tokens: [5],
      maxTokens: (await ids('x😀')).length - 1,
    }).done
    expect(text).toBe('x\uFFFD')
  })

  test('a stop text is cut off with what follows, also when it spans tokens', async () => {
    const { model } = scripted([...(await ids('Once. The end of it')), EOS])
    const result = generate(model, tokenizer, { tokens: [5], stop: ['nowhere', 'The end'] })
    const texts = (await collect(result)).map(({ text }) => text)
    expect(texts.join('')).toBe('Once. ')
    expect(await result.done).toMatchObject({ text: 'Once. ', finishReason: 'stop' })
    expect(await tokenizer.decode((await result.done).tokens)).toMatch(/The end/)
  })

  test('a mark can be a stop text, and gives none', async () => {
    const [mark] = [...tokenizer.specialTokens.keys()].slice(-1)
    const { model } = scripted([
      ...(await ids('Hi')),
      tokenizer.specialTokens.get(mark)!,
      ...(await ids(' you')),
    ])
    const result = await generate(model, tokenizer, { tokens: [5], stop: [mark], ignoreEos: true }).done
    expect(result).toMatchObject({ text: 'Hi', finishReason: 'stop' })
    expect(result.tokens.at(-1)).toBe(tokenizer.specialTokens.get(mark))
  })

  test('text held back for a stop text comes when it was none', async () => {
    const { model } = scripted(await ids('Once. The e'))
    const result = generate(model, tokenizer, {
      tokens: [5],
      stop: ['The end'],
      maxTokens: (await ids('Once. The e')).length,
    })
    expect((await collect(result)).map(({ text }) => text).join('')).toBe('Once. The e')
    expect((await result.done).finishReason).toBe('length')
  })

  test('after an abort, done has also what was held back', async () => {
    const { model } = scripted(await ids('Once. The end'))
    const controller = new AbortController()
    const result = generate(model, tokenizer, { tokens: [5], stop: ['. The end'], signal: controller.signal })
    let shown = ''
    let tokens = 0
    for await (const { text } of result) {
      shown += text
      tokens++
      if (tokens === (await ids('Once. ')).length - 1) controller.abort()
    }
    expect(shown).toBe('Once')
    expect(await result.done).toMatchObject({ text: 'Once.', finishReason: 'aborted' })
  })

  test('an aborted signal generates nothing', async () => {
    const { model, fed } = scripted([7])
    const { tokens, finishReason } = await generate(model, null, { tokens: [5], signal: AbortSignal.abort() })
      .done
    expect([tokens, finishReason, fed]).toEqual([[], 'aborted', []])
  })

  test('a prompt that fills the model leaves room for nothing', async () => {
    const { model } = scripted([7], 3)
    expect(await generate(model, null, { tokens: [5, 5, 5] }).done).toMatchObject({
      tokens: [],
      finishReason: 'length',
    })
  })

  test('times are counted, without what the reader takes', async () => {
    const { model } = scripted([7])
    const result = generate(model, null, { tokens: [5], maxTokens: 3 })
    for await (const _ of result) await new Promise((resolve) => setTimeout(resolve, 100))
    const { prefillMs, decodeMs, tokensPerSecond } = (await result.done).timings
    expect(prefillMs).toBeGreaterThan(0)
    expect(decodeMs).toBeLessThan(250) // the reader took 300
    expect(tokensPerSecond).toBeCloseTo(2000 / decodeMs, 6)
    const { timings } = await generate(model, null, { tokens: [5], maxTokens: 1 }).done
    expect(timings.tokensPerSecond).toBeNull()
  })

  test('steps that make a graph are counted apart', async () => {
    const { model } = scripted([7])
    const makesOne = [true, true, false, true, false] // the prompt, then a step each
    let graphsMs = 0
    const slow: GenerativeModel = {
      ...model,
      get graphsMs() {
        return graphsMs
      },
      greedy(tokens, options) {
        const end = performance.now() + 50
        if (makesOne.shift()) {
          while (performance.now() < end);
          graphsMs += 50
        }
        return model.greedy(tokens, options)
      },
    }
    const { timings } = await generate(slow, null, { tokens: [5], maxTokens: 5 }).done
    expect(timings.graphsMs).toBe(150)
    expect(timings.prefillMs).toBeGreaterThanOrEqual(50)
    expect(timings.tokensPerSecond).toBeCloseTo(2000 / timings.decodeMs, 6) // of four steps two
    const again = await generate(slow, null, { tokens: [5], maxTokens: 2 }).done
    expect(again.timings.graphsMs).toBe(0)
  })

  test('the tokenizer adds its special tokens to a prompt', async () => {
    const gpt2 = await loadTokenizer(tokenizerDir('gpt2_style'))
    const { model, fed } = scripted([7])
    await generate(model, gpt2, { prompt: 'Hello', maxTokens: 1 }).done
    expect(fed[0]).toEqual(await gpt2!.encode('Hello'))
    expect(fed[0][0]).toBe(1)
  })
})

describe('options', () => {
  const { model } = scripted([7], 3)
  test.each<[string, GenerateOptions]>([
    ['generate: expected either prompt (a text) or tokens (ids), not both or none', {}],
    [
      'generate: expected either prompt (a text) or tokens (ids), not both or none',
      { prompt: 'a', tokens: [1] },
    ],
    ['tokens: are empty, expected at least one token', { tokens: [] }],
    [
      'prompt: the model has no tokenizer.json to read text with, give token ids (tokens) instead',
      { prompt: 'a' },
    ],
    [
      'stop: the model has no tokenizer.json, so it writes no text to look for stop texts in',
      { tokens: [1], stop: ['a'] },
    ],
    ["prompt: has 4 tokens, expected at most the model's maxPositionEmbeddings=3", { tokens: [1, 1, 1, 1] }],
    ['maxTokens: is 0, expected a whole number from 1', { tokens: [1], maxTokens: 0 }],
    ['maxTokens: is 1.5, expected a whole number from 1', { tokens: [1], maxTokens: 1.5 }],
    ['topP: is 2, expected a number above 0 and up to 1', { tokens: [1], topP: 2 }],
  ])('%s', (message, options) => {
    expect(() => generate(model, null, options)).toThrow(new InputError(message))
  })

  test('empty texts', async () => {
    await expect(generate(model, tokenizer, { prompt: '' }).done).rejects.toThrow(
      'prompt: "" has no tokens, expected some text',
    )
    const empty = () => generate(model, tokenizer, { tokens: [1], stop: [''] })
    expect(empty).toThrow('stop: has an empty text, expected at least one character')
  })
})
