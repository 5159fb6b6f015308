import type { Interventions } from '../model/router/types.ts'
import type { RoutingTrace, TraceOptions } from '../model/trace.ts'
import type { DispatchName } from '../model/ways.ts'

/** How a next token is chosen from logits. Left out is as the model's generation_config.json says, else off. */
export interface SamplingOptions {
  /** 0 (default) takes the most likely token; above, logits are divided by it. */
  temperature?: number
  /** Only this many most likely tokens; 0 is off. */
  topK?: number
  /** Only the most likely tokens whose probabilities reach this sum, in (0, 1]. */
  topP?: number
  /** Only tokens at least this share as likely as the most likely one, in [0, 1]. */
  minP?: number
  /** Above 1 makes tokens of the prompt and the text so far less likely; 1 is off. */
  repetitionPenalty?: number
  /** Default 0: the same call gives the same text. */
  seed?: number
}

/** What to continue (`prompt` or `tokens`, not both), how, and until when. */
export interface GenerateOptions extends SamplingOptions {
  /** Text; the model's directory must have a tokenizer. Special tokens are added as its tokenizer.json says. */
  prompt?: string
  /** Token ids, taken as they are. */
  tokens?: readonly number[]
  /** New tokens at most, default that of generation_config.json, else 64; the model's `maxPositionEmbeddings` ends a run too. */
  maxTokens?: number
  /** Texts that end the run (default: those of generation_config.json); the one found is cut off, with what follows. */
  stop?: readonly string[]
  /** Goes on after an end-of-sequence token. */
  ignoreEos?: boolean
  /** Aborting ends the run after the token at work, with what there is. */
  signal?: AbortSignal
  /** How experts are run; default: the model's. */
  dispatch?: DispatchName | 'auto'
  /** Keeps the routing of every call in `Generated.traces`. */
  trace?: boolean | TraceOptions
  /** Changes to routing, for every call of the run. */
  interventions?: Interventions
}

/** One new token. */
export interface GeneratedToken {
  token: number
  /**
   * The text that this token made certain: whole characters only, and nothing that may still turn out to begin a stop
   * text. Often '' and then more at a later token. Always '' without a tokenizer.
   */
  text: string
  /** With `trace`: of the call that chose this token, by what came before it. */
  trace?: RoutingTrace
}

/**
 * `eos`: the model ended the text. `stop`: a stop text came. `length`: `maxTokens` or `maxPositionEmbeddings` reached.
 * `aborted`: by the signal, or because the iteration was left.
 */
export type FinishReason = 'eos' | 'stop' | 'length' | 'aborted'

export interface GenerateTimings {
  /** Milliseconds from the start to the first new token, the making of its graph included. */
  prefillMs: number
  /** Milliseconds of the steps after that, less those that made a graph; time the reader takes is not counted. */
  decodeMs: number
  /** Milliseconds of all in which graphs were made: recorded, and prepared by TensorFlow in their first run. */
  graphsMs: number
  /** New tokens of the steps that `decodeMs` counts, a second of it; null when there is none. */
  tokensPerSecond: number | null
}

/** A run that has ended. */
export interface Generated {
  /** New tokens only; an end-of-sequence token that ended the run is the last of them. */
  tokens: number[]
  /** The new text: prompt and text read as one. Without special tokens, cut before a stop text; '' without a tokenizer. */
  text: string
  /** Tokens in the prompt, added special tokens included. */
  promptTokens: number
  finishReason: FinishReason
  timings: GenerateTimings
  /** With `trace`, one a call in order: the prompt's chunks, then each token fed back (the last one is not). Else empty. */
  traces: RoutingTrace[]
}

/**
 * A run that starts when it is first read. Iterate it for tokens as they come, or await `done`, or both in either order:
 * they share one run. Leaving the iteration early ends the run and frees what it held.
 */
export interface GenerateResult extends AsyncIterable<GeneratedToken> {
  /** Runs to the end if nobody iterates. */
  readonly done: Promise<Generated>
}
