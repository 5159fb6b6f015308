import type { ModelConfig } from '../../model/config.ts'
import type { Interventions } from '../../model/router/types.ts'
import type { RoutingTrace } from '../../model/trace.ts'
import type { DispatchName } from '../../model/ways.ts'
import type { Decision } from '../../trace/decision.ts'

/*
 * What the page and the engine's worker say to each other. Everything is plain data, so it can be sent; T tokens of a text, D the
 * model's width, K experts a token.
 */

/** A model that is there. */
export interface ModelFacts {
  /** As `load` or `open` was told, and how other calls name it. */
  id: string
  name: string
  config: ModelConfig
  hasTokenizer: boolean
  /** What was noticed while loading, a sentence each. */
  remarks: readonly string[]
}

/** A token that may come next. */
export interface Candidate {
  token: number
  text: string
  probability: number
}

/** One forward over a whole text. */
export interface Run {
  model: string
  /** [T] */
  tokens: number[]
  /** [T] what each token stands for. */
  texts: string[]
  /** Null where every layer is dense. */
  trace: RoutingTrace | null
  /** [T - 1] nats: how surprising each token was after those before it. */
  losses: number[]
  /** The likeliest next tokens, likeliest first. */
  next: Candidate[]
  /** Probability of every token of the vocabulary [V] as the next one. */
  probabilities: Float32Array
  /** Median milliseconds of a forward over the text; null where it was not timed. */
  ms: number | null
}

/** What a token is on its way through one mixture layer, in numbers [D]. */
export interface Vectors {
  /** The row of the input table. */
  embedding: Float32Array
  /** What router and experts are given. */
  input: Float32Array
  experts: number[]
  weights: number[]
  /** What each chosen expert makes of the input. */
  outputs: Float32Array[]
  /** Of a shared expert, which every token passes through. */
  shared: Float32Array | null
  /** The layer's result: outputs times weights, summed. */
  combined: Float32Array
}

export interface Race {
  tokens: number
  rounds: number
  /** Milliseconds of each round. */
  dense: number[]
  sparse: number[]
  /** Of this machine's product of matrices, and of reading memory. */
  gflops: number
  gbPerS: number
}

/** The worker's calls: arguments and result. */
export interface Calls {
  load(id: string, url: string, bytes: number | null): ModelFacts
  open(id: string, dir: string, files: Map<string, Uint8Array>): ModelFacts
  encode(model: string, text: string): { tokens: number[]; texts: string[] }
  run(
    model: string,
    tokens: number[],
    options: { interventions?: Interventions; timed?: boolean; dispatch?: DispatchName },
  ): Run
  decision(model: string, trace: RoutingTrace, layerIndex: number, row: number): Decision
  vectors(model: string, tokens: number[], layer: number, row: number): Vectors
  /** The routing of another prompt, written on until it has as many tokens. */
  recorded(model: string, prompt: string, tokens: number): RoutingTrace
  logits(
    model: string,
    tokens: number[],
    interventions?: Interventions,
  ): { logits: Float32Array; trace: RoutingTrace | null }
  race(model: string, tokens: number[], rounds: number): Race
  readTrace(json: string, name: string): { trace: RoutingTrace; texts: string[] | null }
  /** Tensors that are alive. */
  tensors(): number
  writeTrace(trace: RoutingTrace, texts: string[]): string
}

export type Call = keyof Calls
export type Answer<C extends Call> = ReturnType<Calls[C]>

export interface Request {
  id: number
  call: Call
  args: unknown[]
}

/** `share` is progress from 0 to 1, or null where the size is not known; the rest ends a call. */
export type Reply = { id: number } & ({ share: number | null } | { result: unknown } | { error: string })
