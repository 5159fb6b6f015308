import * as tf from '@tensorflow/tfjs-core'
import { InputError } from '../../errors.ts'
import { checkPromptLength } from '../../generate/generate.ts'
import { distribution, mostLikely, parseSampling } from '../../generate/sampler.ts'
import { mixturesOf } from '../../model/config.ts'
import { tokenLosses } from '../../model/token-losses.ts'
import type { MoeModel } from '../../model/transformer.ts'
import type { Loaded } from './loaded.ts'
import type { Calls, Run } from './protocol.ts'
import { textsOf } from './texts.ts'

type Options = Parameters<Calls['run']>[2]

/** The model's own distribution, nothing filtered. */
const AS_IT_IS = parseSampling({ temperature: 1 })
/** Next tokens that are listed. */
const LISTED = 8
/** Forwards that are timed: so many, or fewer once this many milliseconds have passed. */
const TIMED = 5
const TIMED_MS = 120

/** One forward over a whole text: routing, loss, and what may come next. */
export async function runText(
  { facts, model, tokenizer }: Loaded,
  tokens: number[],
  options: Options,
): Promise<Run> {
  const { interventions, dispatch, timed } = options
  if (tokens.length === 0) throw new InputError('prompt: has no tokens, expected some text')
  checkPromptLength(tokens.length, model.config)
  const hasRouter = mixturesOf(model.config.layers).length > 0
  const own = { dispatch, ...(hasRouter && interventions ? { interventions } : {}) }
  const { logits, trace } = model.forward([tokens], { ...own, trace: hasRouter })
  const T = tokens.length
  const V = model.config.vocabSize
  const last = tf.tidy(() =>
    tf.slice(tf.reshape(logits, [T, V]), [T - 1, 0], [1, V]).dataSync(),
  ) as Float32Array
  // The last token's target is not known yet; its loss is left out.
  const losses = tokenLosses(logits as tf.Tensor3D, Int32Array.from([...tokens.slice(1), 0]))
  const probabilities = Float32Array.from(distribution(last, AS_IT_IS))
  const next = mostLikely(probabilities, LISTED).map((token) => ({
    token,
    probability: probabilities[token],
  }))
  return {
    model: facts.id,
    tokens,
    texts: await textsOf(tokens, tokenizer),
    trace,
    losses: [...losses.subarray(0, T - 1)],
    next: await Promise.all(
      next.map(async (candidate) => ({
        ...candidate,
        text:
          (await tokenizer?.decode([candidate.token], { skipSpecialTokens: false })) ?? `#${candidate.token}`,
      })),
    ),
    probabilities,
    ms: timed ? medianMs(model, tokens, own) : null,
  }
}

function medianMs(model: MoeModel, tokens: number[], options: Parameters<MoeModel['forward']>[1]): number {
  const samples: number[] = []
  const began = performance.now()
  while (samples.length < TIMED && (samples.length < 2 || performance.now() - began < TIMED_MS)) {
    samples.push(forwardMs(model, tokens, options))
  }
  return samples.sort((a, b) => a - b)[Math.floor(samples.length / 2)]
}

/** Milliseconds of one forward, its last logits read back. */
export function forwardMs(
  model: MoeModel,
  tokens: number[],
  options: Parameters<MoeModel['forward']>[1] = {},
): number {
  const began = performance.now()
  const { logits } = model.forward(tokens, { ...options, logits: 'last' })
  logits.dataSync()
  const ms = performance.now() - began
  logits.dispose()
  return ms
}
