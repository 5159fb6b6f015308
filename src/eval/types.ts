import type { HeldDtype } from '../backend/dtypes.ts'
import type { Domain } from '../corpus/index.ts'
import type { FlopParts, ParameterCount } from '../cost/index.ts'
import type { RuntimeReport } from '../device/types.ts'
import type { Executor } from '../model/ways.ts'
import type { MutualInformation } from './mutual-information.ts'
import type { Proportion } from './proportion.ts'

export const EVAL_SPLITS = ['heldout', 'validation'] as const
export type EvalSplit = (typeof EVAL_SPLITS)[number]

/** A value for each domain that was evaluated. */
export type ByDomain<T> = Partial<Record<Domain, T>>

/** What `tinymoe eval --json` prints. Unknown is null. Losses are in nats a token of the model's own tokenizer. */
export interface EvalReport {
  format: 'tinymoe-eval'
  version: 1
  date: string
  seconds: number
  model: EvalModel
  split: EvalSplit
  /** Documents of each domain for the loss; questions of each form at most. */
  samples: number
  seed: number
  domains: Domain[]
  loss: LossReport
  /** By domain and form, where the domain has answers. */
  exactMatch: ByDomain<Record<string, Proportion>>
  /** By domain and form: texts written by the model in which `verifyText` finds nothing wrong. */
  wellFormed: ByDomain<Record<string, Proportion>>
  /** Sums of two numbers of two digits, whose pair is in no training text; null without the domain. */
  headline: { worked: FormsPooled; plain: FormsPooled } | null
  cost: CostReport
  speed: SpeedReport
  /** Null unless asked for. */
  experts: ExpertsReport | null
  conditions: EvalConditions
  /** What this model could not be asked, a sentence each. */
  notes: string[]
}

export interface EvalModel {
  /** Last part of the directory's path; of `checkpoint` and `model`, which training writes, the last two. */
  name: string
  family: string
  layers: number
  vocabSize: number
  /** Per layer E and K; null for a layer without a router. */
  mixtures: ({ numExperts: number; topK: number } | null)[]
}

export interface LossReport {
  /** Mean of `byDomain`: every domain counts the same. */
  mean: number
  byDomain: ByDomain<number>
  /** exp(mean). */
  perplexity: number
  /** Mean over domains of their nats / ln 2 / characters: compares across tokenizers. */
  bitsPerCharacter: number
  details: ByDomain<DomainLoss>
}

export interface DomainLoss {
  documents: number
  /** Predicted tokens, the end-of-text token included. */
  tokens: number
  /** Unicode code points. */
  characters: number
  /** Of the loss, over documents; null with a single one. */
  standardError: number | null
  bitsPerCharacter: number
}

/** Several forms of question counted as one. */
export interface FormsPooled extends Proportion {
  forms: string[]
}

export interface CostReport {
  parameters: Omit<ParameterCount, 'parts'>
  /** Matrix FLOPs of a token that meets `flopContext` keys and gets logits, only the chosen experts run. */
  flopsPerToken: number
  flopContext: number
  flopParts: FlopParts
  /** Weights read for one token alone, as the engine holds them. */
  weightBytesPerToken: number
}

export interface SpeedReport {
  prefill: Timing
  decode: Timing
}

/** Milliseconds of a call, result read. */
export interface Timing {
  /** New tokens of a call. */
  tokens: number
  /** Keys in sight of the call's last token; of the middle call where it grows. */
  context: number
  n: number
  medianMs: number
  p10Ms: number
  p90Ms: number
  /** `tokens` by median. */
  tokensPerSecond: number
}

export interface EvalConditions {
  runtime: RuntimeReport
  /** Of `speed`, as the executor: quality is computed in float32. */
  dtype: HeldDtype
  /** Of `speed`. Quality is computed op by op: both give the same, and every shape of batch would need a graph. */
  executor: Executor
  /** Busy threads on average in the minute before; null where the system does not tell. */
  loadAverage: number | null
}

export interface ExpertsReport {
  /** An expert with a smaller share of its layer's assignments is called dead. */
  deadShare: number
  /** Documents and tokens routed, by domain: about the same number of tokens each. */
  documents: ByDomain<number>
  tokens: ByDomain<number>
  /** Of these, what the losses with a disabled expert were computed on. */
  disabledTokens: ByDomain<number>
  layers: LayerExperts[]
}

/** One mixture layer over all routed tokens. Lists [E] have an entry an expert. */
export interface LayerExperts {
  layer: number
  /** E */
  numExperts: number
  /** K */
  topK: number
  /** Null with a single domain. */
  mutualInformation: MutualInformation | null
  /** Share of a domain's tokens that have the expert among their K; no preference is `baseline`. */
  tokenShare: ByDomain<number[]>
  /** K / E */
  baseline: number
  load: ExpertLoad
  /** [E], most typical first. */
  typicalTokens: TypicalToken[][]
  /** Loss without the expert less the loss with it; null where too few experts are left to choose from. */
  disabled: DisabledLoss[] | null
}

export interface ExpertLoad {
  /** [E] shares of the assignments; they sum to 1, balanced is 1 / E. */
  shares: number[]
  least: { expert: number; share: number }
  most: { expert: number; share: number }
  /** Experts below `deadShare`. */
  dead: number[]
  /** (largest load - mean) / mean. */
  maxViolation: number
  /** E sum f P; 1 when balanced. */
  loadBalanceLoss: number
}

export interface TypicalToken {
  token: number
  text: string
  /** Times that it was routed. */
  count: number
  /** Share of these that went to the expert. */
  share: number
  /** `share` by the share of all tokens that went to the expert. */
  lift: number
}

/** Nats a token more than intact, on the same documents. */
export interface DisabledLoss {
  expert: number
  /** Mean over domains. */
  mean: number
  byDomain: ByDomain<number>
  /** Of each difference, over documents. */
  standardError: ByDomain<number | null>
}
