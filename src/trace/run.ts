import { checkPromptLength, PREFILL_CHUNK } from '../generate/generate.ts'
import type { LoadedModel } from '../load-model.ts'
import type { ForwardOptions } from '../model/forward-options.ts'
import type { Interventions } from '../model/router/types.ts'
import { joinTraces, type RoutingTrace } from '../model/trace.ts'

export interface TraceRunOptions extends Pick<ForwardOptions, 'dispatch'> {
  tokens: number[]
  /** Tokens to generate after the prompt, the most likely ones; the last one is not fed back and so not routed. */
  maxTokens: number
  interventions?: Interventions
}

export interface TraceRun {
  /** One a forward, in order. */
  calls: RoutingTrace[]
  /** All of them as one. */
  trace: RoutingTrace
  /** New tokens. */
  generated: number[]
}

/** Whatever the model's generation_config.json says. */
const MOST_LIKELY = { temperature: 0, repetitionPenalty: 1, stop: [] }

/** Runs a prompt, and a continuation if asked for, and keeps what the routers decided. */
export async function traceRun(model: LoadedModel, options: TraceRunOptions): Promise<TraceRun> {
  const { maxTokens, ...rest } = options
  const { traces, tokens } =
    maxTokens > 0
      ? await model.generate({ ...rest, ...MOST_LIKELY, maxTokens, trace: true }).done
      : { traces: promptTraces(model, options), tokens: [] }
  return { calls: traces, trace: joinTraces(traces), generated: tokens }
}

/** The prompt alone, in the same chunks as when generating: capacity limits count the tokens of a call. */
function promptTraces(
  model: LoadedModel,
  { tokens, dispatch, interventions }: TraceRunOptions,
): RoutingTrace[] {
  checkPromptLength(tokens.length, model.config)
  const cache = model.createCache()
  const traces: RoutingTrace[] = []
  try {
    for (let from = 0; from < tokens.length; from += PREFILL_CHUNK) {
      const chunk = tokens.slice(from, from + PREFILL_CHUNK)
      const options = { cache, dispatch, interventions, trace: true, logits: 'last' } as const
      const { logits, trace } = model.forward(chunk, options)
      logits.dispose()
      if (trace) traces.push(trace)
    }
  } finally {
    cache.dispose()
  }
  return traces
}
