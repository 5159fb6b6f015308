import type * as tf from '@tensorflow/tfjs-core'
import { assertNames, assertObject, assertThat, assertWhole, shown } from '../checks.ts'
import { InputError } from '../errors.ts'
import type { ModelConfig } from '../model/config.ts'
import { checkCall, type ForwardOptions } from '../model/forward-options.ts'
import type { KvCache } from '../model/kv-cache.ts'
import { checkForm } from '../model/router/check-interventions.ts'
import type { RoutingTrace } from '../model/trace.ts'
import type { ForwardResult, GreedyResult } from '../model/transformer.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { type GenerationConfig, settingsOf } from './generation-config.ts'
import { type Random, Xoshiro128 } from './random.ts'
import { GenerateRun } from './run.ts'
import { nextToken, parseSampling, type Sampling } from './sampler.ts'
import { StopFilter, TextStream } from './text-stream.ts'
import type { FinishReason, Generated, GeneratedToken, GenerateOptions, GenerateResult } from './types.ts'

/** Prompt tokens a call: more at once is hardly faster, and attention's scores grow with the square. */
export const PREFILL_CHUNK = 512

/** What generating needs of a model; `MoeModel` is one. */
export interface GenerativeModel {
  readonly config: Pick<ModelConfig, 'maxPositionEmbeddings' | 'eosTokenIds'>
  /** Defaults of the options, where the model's directory has some. */
  readonly generation?: GenerationConfig | null
  /** Milliseconds so far in making graphs; left out by models that make none. */
  readonly graphsMs?: number
  createCache(): KvCache
  forward(tokens: number[], options: ForwardOptions): ForwardResult
  greedy(tokens: number[], options: Omit<ForwardOptions, 'logits'>): GreedyResult
}

/**
 * Continues a text or token ids. What is left out is as the model's generation_config.json says (`model.generation`). Nothing runs until the result is read.
 * @throws InputError at once for options that are wrong or contradict each other, a missing tokenizer, or too many tokens; the run
 * itself rejects with an InputError for too long a text, a token outside the vocabulary, or logits that are no numbers
 */
export function generate(
  model: GenerativeModel,
  tokenizer: Tokenizer | null,
  options: GenerateOptions,
): GenerateResult {
  const generation = new Generation(model, tokenizer, options)
  return new GenerateRun(generation.steps(), () => generation.outcome())
}

/** One run: what it was asked, and what it has so far. */
class Generation {
  private readonly maxTokens: number
  private readonly sampling: Sampling
  private readonly random: Random
  private readonly stopFilter: StopFilter
  private readonly stopTokens: readonly number[]
  /** Known once the run has begun, as tokenizers answer later. */
  private prompt: number[] = []
  private textStream: TextStream | null = null
  private readonly tokens: number[] = []
  private readonly traces: RoutingTrace[] = []
  private text = ''
  private prefillMs = 0
  private decodeMs = 0
  /** Tokens whose step `decodeMs` counts. */
  private timedTokens = 0
  private readonly graphsMsBefore: number
  /** Null while it runs, and when it was left before its end. */
  private finishReason: FinishReason | null = null

  constructor(
    private readonly model: GenerativeModel,
    private readonly tokenizer: Tokenizer | null,
    private readonly options: GenerateOptions,
  ) {
    checkOptions(options)
    this.graphsMsBefore = model.graphsMs ?? 0
    const settings = settingsOf(options, model.generation ?? null)
    const values = Object.entries(settings).map(([name, { value }]) => [name, value])
    this.sampling = parseSampling({ ...Object.fromEntries(values), seed: options.seed })
    this.random = Xoshiro128.fromSeed(this.sampling.seed)
    checkInput(options, tokenizer, model.config)
    this.maxTokens = settings.maxTokens.value
    assertWhole('maxTokens', this.maxTokens, 1)
    const stops = parseStops(tokenizer || options.stop ? settings.stop.value : [], tokenizer)
    this.stopFilter = new StopFilter(stops)
    this.stopTokens = stops.flatMap((stop) => tokenizer?.specialTokens.get(stop) ?? [])
  }

  /** Prompt, then token after token; the cache is freed however this is left. */
  async *steps(): AsyncGenerator<GeneratedToken, void> {
    await this.readPrompt()
    const cache = this.model.createCache()
    try {
      let token = await this.prefill(cache)
      while (token !== null) {
        yield await this.take(token)
        token = await this.decode(cache)
      }
    } finally {
      cache.dispose()
      if (this.finishReason === null) this.text += await this.rest()
    }
  }

  /** What the run came to; valid when `steps` has ended. */
  outcome(): Generated {
    const { tokens, text, prefillMs, decodeMs, timedTokens, traces } = this
    return {
      tokens,
      text,
      promptTokens: this.prompt.length,
      finishReason: this.finishReason ?? 'aborted',
      timings: {
        prefillMs,
        decodeMs,
        graphsMs: (this.model.graphsMs ?? 0) - this.graphsMsBefore,
        tokensPerSecond: timedTokens > 0 && decodeMs > 0 ? (timedTokens * 1000) / decodeMs : null,
      },
      traces,
    }
  }

  private async readPrompt(): Promise<void> {
    const { tokenizer, options, model } = this
    this.prompt = options.tokens ? [...options.tokens] : await tokensOf(options.prompt as string, tokenizer!)
    checkPromptLength(this.prompt.length, model.config)
    this.textStream = tokenizer ? new TextStream(tokenizer, this.prompt) : null
  }

  /** New tokens that there is room for. */
  private get limit(): number {
    return Math.min(this.maxTokens, this.model.config.maxPositionEmbeddings - this.prompt.length)
  }

  /** The first new token, or null if nothing is to be generated. */
  private async prefill(cache: KvCache): Promise<number | null> {
    if (this.limit === 0) this.finishReason = 'length'
    const started = performance.now()
    let token: number | null = null
    for (let from = 0; from < this.prompt.length; from += PREFILL_CHUNK) {
      await otherTasks()
      if (this.ended) return null
      const chunk = this.prompt.slice(from, from + PREFILL_CHUNK)
      if (from + PREFILL_CHUNK < this.prompt.length) this.logitsAfter(chunk, cache).dispose()
      else token = await this.tokenAfter(chunk, cache)
    }
    this.prefillMs = performance.now() - started
    return token
  }

  /** Feeds the last token back: the next one, or null if it was the last. */
  private async decode(cache: KvCache): Promise<number | null> {
    await otherTasks()
    if (this.ended) return null
    const [started, graphsMs] = [performance.now(), this.model.graphsMs]
    const token = await this.tokenAfter(this.tokens.slice(-1), cache)
    if (this.model.graphsMs === graphsMs) {
      this.decodeMs += performance.now() - started
      this.timedTokens++
    }
    return token
  }

  private logitsAfter(tokens: number[], cache: KvCache): tf.Tensor {
    const result = this.model.forward(tokens, { ...this.callOptions, cache, logits: 'last' })
    if (result.trace) this.traces.push(result.trace)
    return result.logits
  }

  private async tokenAfter(tokens: number[], cache: KvCache): Promise<number> {
    const { temperature, repetitionPenalty } = this.sampling
    if (temperature === 0 && repetitionPenalty === 1) {
      const result = this.model.greedy(tokens, { ...this.callOptions, cache })
      if (result.trace) this.traces.push(result.trace)
      return result.tokens[0]
    }
    const seen = repetitionPenalty === 1 ? [] : [...this.prompt, ...this.tokens]
    const logits = await readAndDispose(this.logitsAfter(tokens, cache))
    return nextToken(logits, seen, this.sampling, this.random)
  }

  private get callOptions(): Omit<ForwardOptions, 'logits' | 'cache'> {
    const { dispatch, trace, interventions } = this.options
    return { dispatch, trace, interventions }
  }

  /** Takes a new token in, and says what of the text it makes certain. */
  private async take(token: number): Promise<GeneratedToken> {
    const started = performance.now()
    this.tokens.push(token)
    const isEos = !this.options.ignoreEos && this.model.config.eosTokenIds.includes(token)
    if (isEos) this.finishReason = 'eos'
    else if (this.stopTokens.includes(token)) this.finishReason = 'stop'
    else if (this.tokens.length === this.limit) this.finishReason = 'length'
    const { text, stopped } = this.stopFilter.push((!isEos && (await this.textStream?.push(token))) || '')
    if (stopped) this.finishReason = 'stop'
    const certain = !stopped && this.ended ? text + (await this.rest()) : text
    this.text += certain
    this.decodeMs += performance.now() - started
    return { token, text: certain, ...(this.options.trace && { trace: this.traces.at(-1) }) }
  }

  /** Text held back so far, when no more is to come. */
  private async rest(): Promise<string> {
    const { text, stopped } = this.stopFilter.push((await this.textStream?.flush()) ?? '')
    if (stopped) this.finishReason = 'stop'
    return stopped ? text : text + this.stopFilter.flush()
  }

  private get ended(): boolean {
    return this.finishReason !== null || this.options.signal?.aborted === true
  }
}

/** Names by type: one that the type gains or loses does not compile here. */
const OPTIONS = {
  prompt: 0,
  tokens: 0,
  maxTokens: 0,
  temperature: 0,
  topK: 0,
  topP: 0,
  minP: 0,
  repetitionPenalty: 0,
  seed: 0,
  stop: 0,
  ignoreEos: 0,
  signal: 0,
  dispatch: 0,
  trace: 0,
  interventions: 0,
} satisfies Record<keyof GenerateOptions, 0>

/** The kinds of what is given; what it says is looked at where it is used. */
function checkOptions(options: GenerateOptions): void {
  assertObject('generate', options, 'an object with prompt or tokens')
  assertNames('generate', options, OPTIONS)
  const { prompt = '', tokens = [], stop = [], signal, dispatch, trace, interventions } = options
  assertThat('prompt', prompt, typeof prompt === 'string', 'a text')
  assertThat('tokens', tokens, Array.isArray(tokens) || ArrayBuffer.isView(tokens), 'a list of token ids')
  const isList = Array.isArray(stop) && stop.every((text) => typeof text === 'string')
  assertThat('stop', stop, isList, "a list of texts, such as ['The end']")
  const isSignal = signal === undefined || typeof signal?.aborted === 'boolean'
  assertThat('signal', signal, isSignal, "an AbortController's signal")
  checkCall([], { dispatch, trace })
  if (interventions !== undefined) checkForm(interventions)
}

/** @throws InputError for a prompt longer than the positions that the model was made for */
export function checkPromptLength(
  tokens: number,
  { maxPositionEmbeddings }: Pick<ModelConfig, 'maxPositionEmbeddings'>,
): void {
  if (tokens > maxPositionEmbeddings) {
    throw new InputError(
      `prompt: has ${tokens} tokens, expected at most the model's maxPositionEmbeddings=${maxPositionEmbeddings}`,
    )
  }
}

function checkInput(
  { prompt, tokens }: GenerateOptions,
  tokenizer: Tokenizer | null,
  config: Pick<ModelConfig, 'maxPositionEmbeddings'>,
): void {
  if ((prompt === undefined) === (tokens === undefined)) {
    throw new InputError('generate: expected either prompt (a text) or tokens (ids), not both or none')
  }
  if (tokens?.length === 0) throw new InputError('tokens: are empty, expected at least one token')
  if (tokens) checkPromptLength(tokens.length, config)
  else if (!tokenizer) {
    throw new InputError(
      'prompt: the model has no tokenizer.json to read text with, give token ids (tokens) instead',
    )
  }
}

async function tokensOf(prompt: string, tokenizer: Tokenizer): Promise<number[]> {
  const ids = await tokenizer.encode(prompt)
  if (ids.length === 0) throw new InputError(`prompt: ${shown(prompt)} has no tokens, expected some text`)
  return ids
}

function parseStops(stop: readonly string[], tokenizer: Tokenizer | null): readonly string[] {
  if (stop.length > 0 && !tokenizer) {
    throw new InputError(
      'stop: the model has no tokenizer.json, so it writes no text to look for stop texts in',
    )
  }
  if (stop.includes('')) throw new InputError('stop: has an empty text, expected at least one character')
  return stop
}

/** Logits [1, V] as values; the tensor is freed also when reading fails. */
async function readAndDispose(logits: tf.Tensor): Promise<Float32Array> {
  try {
    return (await logits.data()) as Float32Array
  } finally {
    logits.dispose()
  }
}

/** Lets timers, signals and input have their turn. */
function otherTasks(): Promise<void> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve))
  // A browser has none, and its setTimeout waits 4 ms when it is called again and again.
  const { port1, port2 } = new MessageChannel()
  return new Promise((resolve) => {
    const onmessage = () => {
      port1.close()
      resolve()
    }
    Object.assign(port1, { onmessage })
    port2.postMessage(null)
  })
}
