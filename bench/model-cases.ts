import { type ForwardShape, forwardFlops, forwardWeightBytes, totalFlops } from '../src/cost/index.ts'
import { Xoshiro128 } from '../src/generate/random.ts'
import type { Tokenizer } from '../src/generate/tokenizer.ts'
import type { ModelConfig } from '../src/model/config.ts'
import { DISPATCHES, type DispatchName } from '../src/model/dispatch/index.ts'
import type { KvCache } from '../src/model/kv-cache.ts'
import { MoeModel } from '../src/model/transformer.ts'
import { GATHER_UP_TO } from './layer-cases.ts'
import { spreadOf } from './spread.ts'
import { TEXT } from './text.ts'
import type { Case, Variant } from './types.ts'

/** Prompt of the prefill case, and what a decode finds in its cache; a model of shorter context gets fewer. */
const PROMPT_TOKENS = 128
/** Tokens that one timed decode run adds, one call each. */
const DECODE_STEPS = 16

/** The tokens both cases run on. */
export interface BenchText {
  prompt: number[]
  continuation: number[]
  source: string
}

/** Real text where there is a tokenizer, else seeded token ids. */
export function benchText(config: ModelConfig, tokenizer: Tokenizer | null, seed: number): BenchText {
  const wanted = Math.min(PROMPT_TOKENS + DECODE_STEPS, config.maxPositionEmbeddings)
  const random = Xoshiro128.fromSeed(seed)
  const ids = tokenizer
    ? tokenizer.encode(TEXT)
    : Array.from({ length: wanted }, () => Math.floor(random.uniform() * config.vocabSize))
  const used = Math.min(wanted, ids.length)
  const steps = Math.min(DECODE_STEPS, Math.floor(used / 2))
  return {
    prompt: ids.slice(0, used - steps),
    continuation: ids.slice(used - steps, used),
    source: tokenizer ? 'English prose through its tokenizer' : 'random token ids, as it has no tokenizer',
  }
}

/** A whole prompt through the model from an empty cache, logits of its last token read. */
export function prefillCase(model: MoeModel, { prompt }: BenchText): Case {
  const T = prompt.length
  const { trace, logits } = model.forward(prompt, { trace: true, logits: 'last' })
  const spread = spreadOf(trace!.layers.map((layer) => layer.tokensPerExpert))
  const shape = { tokens: T, context: T, logitRows: 1 }
  const eager = eagerly(model)
  return {
    kind: 'prefill',
    tokens: T,
    context: T,
    callsPerRun: 1,
    spread,
    variants: dispatchesFor(model, T).map((dispatch) => ({
      ...costOf(model.config, [shape], dispatch, spread.expertsTouched),
      run: () => readLogits(model, prompt, dispatch),
      eager: () => readLogits(eager, prompt, dispatch),
    })),
    read: () => logits.dataSync(),
    dispose: () => logits.dispose(),
  }
}

/** One token a call through the cache behind a prompt, as generating does, but along a given text. */
export function decodeCase(model: MoeModel, { prompt, continuation }: BenchText): Case {
  const window = model.config.attention.slidingWindow ?? Number.POSITIVE_INFINITY
  const contextAt = (step: number) => Math.min(prompt.length + step, window - 1) + 1 // the cache keeps W - 1 columns
  const shapes = continuation.map((_, step) => ({ tokens: 1, context: contextAt(step), logitRows: 1 }))
  const caches = new PromptCaches(model, prompt)
  const eager = eagerly(model)
  const decode = (by: MoeModel, dispatch: DispatchName) => {
    for (const token of continuation) readLogits(by, [token], dispatch, caches.current)
  }
  const spread = spreadOf(decodeRouting(model, caches.fresh(), continuation))
  const { logits } = model.forward(continuation.slice(0, 1), { logits: 'last' })
  return {
    kind: 'decode',
    tokens: 1,
    context: contextAt(Math.floor(continuation.length / 2)),
    callsPerRun: continuation.length,
    spread,
    variants: dispatchesFor(model, 1).map((dispatch) => ({
      ...costOf(model.config, shapes, dispatch, topKs(model.config)),
      prepare: () => caches.fresh(),
      run: () => decode(model, dispatch),
      eager: () => {
        caches.current?.forgetHidden() // a graph cuts a sliding window only when its room is full
        decode(eager, dispatch)
      },
    })),
    read: () => logits.dataSync(),
    dispose: () => {
      caches.dispose()
      logits.dispose()
    },
  }
}

/** The same weights without an executor of their own: op by op. */
function eagerly({ config, weights }: MoeModel): MoeModel {
  return new MoeModel(config, weights)
}

/** A cache that holds the prompt, made anew for every run since a run grows it. */
export class PromptCaches {
  current: KvCache | undefined

  constructor(
    private readonly model: MoeModel,
    private readonly prompt: number[],
  ) {}

  fresh(): KvCache {
    this.dispose()
    const cache = this.model.createCache()
    this.model.forward(this.prompt, { cache, logits: 'last' }).logits.dispose()
    this.current = cache
    return cache
  }

  dispose(): void {
    this.current?.dispose()
    this.current = undefined
  }
}

/** tokensPerExpert of each layer, summed over the steps. */
function decodeRouting(model: MoeModel, cache: KvCache, continuation: number[]): Int32Array[] {
  const sums: Int32Array[] = []
  for (const token of continuation) {
    const { trace, logits } = model.forward([token], { cache, trace: true, logits: 'last' })
    logits.dispose()
    trace!.layers.forEach(({ tokensPerExpert }, layer) => {
      sums[layer] = tokensPerExpert.map((count, e) => count + (sums[layer]?.[e] ?? 0))
    })
  }
  return sums
}

function readLogits(model: MoeModel, tokens: number[], dispatch: DispatchName, cache?: KvCache): void {
  const { logits } = model.forward(tokens, { dispatch, cache, logits: 'last' })
  logits.dataSync()
  logits.dispose()
}

function dispatchesFor({ config }: MoeModel, tokens: number): DispatchName[] {
  const assignments = tokens * Math.max(0, ...topKs(config))
  return DISPATCHES.filter((name) => name !== 'gather' || assignments <= GATHER_UP_TO)
}

function topKs(config: ModelConfig): number[] {
  return config.layers.flatMap((layer) => (layer.kind === 'moe' ? [layer.router.topK] : []))
}

/** FLOPs of all calls, bytes of one. */
function costOf(
  config: ModelConfig,
  calls: Omit<ForwardShape, 'dispatch'>[],
  dispatch: DispatchName,
  sparseTouched: number[],
): Omit<Variant, 'run'> {
  const flopsBy = (name: DispatchName) =>
    calls.reduce((sum, shape) => sum + totalFlops(forwardFlops(config, { ...shape, dispatch: name })), 0)
  const all = config.layers.flatMap((layer) => (layer.kind === 'moe' ? [layer.router.numExperts] : []))
  const touched = dispatch === 'dense' ? all : sparseTouched
  return {
    dispatch,
    flops: flopsBy(dispatch),
    idealSpeedup: flopsBy('dense') / flopsBy(dispatch),
    weightBytes: forwardWeightBytes(config, calls[0].tokens, touched),
  }
}
