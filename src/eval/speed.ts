import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Domain, generateSample } from '../corpus/index.ts'
import { type Summary, summarize } from '../samples.ts'
import type { Draw, TextCodec } from './documents.ts'
import type { EvalForward, Watch } from './loss.ts'

const PROMPT_TOKENS = 128
/** Tokens decoded one by one behind the prompt. */
const STEPS = 32
const ROUNDS = 12
/** Rounds before those that count: the first records graphs and moves weights. */
const WARM_UP = 2
/** No further round is begun after this, on slow devices. */
const BUDGET_MS = 15_000
const MIN_ROUNDS = 3

/** Prompt and continuation, real text: of stories, or what else there is, in a row. */
export async function speedTokens(
  codec: TextCodec,
  domain: Domain,
  draw: Draw,
  room: number,
): Promise<number[]> {
  const wanted = Math.min(PROMPT_TOKENS + STEPS, room)
  const tokens: number[] = []
  for (let index = 0; tokens.length < wanted; index++) {
    const { text } = generateSample(domain, draw.split, index, draw.seed, draw.facts)
    tokens.push(...(await codec.document(domain, text)).tokens)
  }
  return tokens.slice(0, wanted)
}

export type SpeedReport = Awaited<ReturnType<typeof measureSpeed>>
/** Milliseconds of a call, result read. */
export type Timing = SpeedReport['decode']

/** Times a prompt read from an empty cache and then single tokens behind it; every call ends by reading its logits. */
export async function measureSpeed(
  model: EvalForward,
  tokens: readonly number[],
  { signal, onShare }: Watch = {},
) {
  const steps = Math.min(STEPS, Math.floor(tokens.length / 2))
  const prompt = tokens.slice(0, tokens.length - steps)
  const prefillMs: number[] = []
  const decodeMs: number[] = []
  const started = performance.now()
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    if (round >= MIN_ROUNDS && performance.now() - started > BUDGET_MS) break
    await nextTurn() // an interrupt is seen only between turns of the event loop
    signal?.throwIfAborted()
    const times = timeRound(model, prompt, tokens.slice(prompt.length))
    if (round >= 0) {
      prefillMs.push(times[0])
      decodeMs.push(...times.slice(1))
    }
    onShare?.((round + WARM_UP + 1) / (ROUNDS + WARM_UP))
  }
  onShare?.(1) // the budget may have ended it before
  const timing = (tokens: number, context: number, { n, medianMs, p10Ms, p90Ms }: Summary) => ({
    /** New tokens of a call. */
    tokens,
    /** Keys in sight of the call's last token; of the middle call where it grows. */
    context,
    n,
    medianMs,
    p10Ms,
    p90Ms,
    /** `tokens` by median. */
    tokensPerSecond: (1000 * tokens) / medianMs,
  })
  return {
    prefill: timing(prompt.length, prompt.length, summarize(prefillMs)),
    decode: timing(1, prompt.length + Math.ceil(steps / 2), summarize(decodeMs)),
  }
}

/** Milliseconds of the prompt, then of each step. */
function timeRound(model: EvalForward, prompt: number[], continuation: number[]): number[] {
  const cache = model.createCache()
  try {
    return [prompt, ...continuation.map((token) => [token])].map((call) => {
      const start = performance.now()
      const { logits } = model.forward(call, { cache, logits: 'last' })
      logits.dataSync()
      logits.dispose()
      return performance.now() - start
    })
  } finally {
    cache.dispose()
  }
}
