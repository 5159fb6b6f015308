import type * as tf from '@tensorflow/tfjs-core'
import type { RouterConfig } from '../config.ts'

/** Which experts each token goes to, and how much each counts. */
export interface Routing {
  /** [T, K] row-major, most preferred first; -1 where a capacity limit dropped the assignment. */
  expertIndices: Int32Array
  /** [T, K] aligned with expertIndices; 0 where dropped. */
  expertWeights: Float32Array
  /** [E] assignments of each expert; they sum to T K less the dropped. */
  tokensPerExpert: Int32Array
}

/** A routing on the device, nothing read back. */
export interface RoutingTensors {
  /** [T, K] int32 */
  expertIndices: tf.Tensor2D
  /** [T, K] */
  expertWeights: tf.Tensor2D
}

/** How a layer's router chooses: its config, and the bias it learned for choosing. */
export interface RouterRules {
  config: RouterConfig
  /** [E], added for choosing only (DeepSeek-V3's `e_score_correction_bias`). */
  scoreBias: Float32Array | null
}

/** A router's own numbers on the host. */
export interface RouterLayer extends RouterRules {
  /** [D, E] row-major */
  weight: Float32Array
  /** [E], added to the logits (gpt_oss). */
  bias: Float32Array | null
}

/** Where a call stands in a run, for messages and for interventions that name a layer or a token. */
export interface RouterPlace {
  layer: number
  /** Per row its sequence and its position in it; left out: one sequence from position 0. */
  rows?: readonly { sequence: number; position: number }[]
}

/** The part of a trace that says where tokens went. */
export interface RecordedRouting {
  rows: { sequence: number; position: number }[]
  layers: (Pick<Routing, 'expertIndices' | 'expertWeights'> & {
    layer: number
    /** E */
    numExperts: number
    /** K */
    topK: number
  })[]
}

export const CAPACITY_POLICIES = ['drop', 'next-best', 'none'] as const
export type CapacityPolicy = (typeof CAPACITY_POLICIES)[number]

/** Changes to routing, given to one forward or generate and kept nowhere. `layer` left out means every mixture layer. */
export interface Interventions {
  /** K for this call, 1..E. */
  topK?: number
  /** Divides the logits; above 1 evens the scores. */
  temperature?: number
  /** Experts that may not be chosen, as if the layer had been built without them. */
  disable?: { expert: number; layer?: number }[]
  /** Added to what experts are compared by; the weights do not see it. */
  bias?: { expert: number; value: number; layer?: number }[]
  /** Sends the token at a position to these experts (at most K); the rest of K goes to the best others. */
  force?: { position: number; experts: number[]; layer?: number; sequence?: number }[]
  /**
   * Puts another decision in the router's place: K distinct experts at random (by seed, layer, sequence and position,
   * so that cached and whole runs agree) or in turn, both with equal weights; or what a trace recorded.
   */
  replace?: { by: 'random'; seed: number } | { by: 'round-robin' } | { by: 'trace'; trace: RecordedRouting }
  /**
   * At most ceil(factor T K / E) tokens an expert and call (GShard, Lepikhin et al. 2020; Switch, Fedus et al. 2021).
   * First choices of all tokens are seated before second choices. What is over: `drop` loses it, `next-best` moves it to
   * the token's best expert with room, `none` leaves it.
   */
  capacity?: { factor: number; policy: CapacityPolicy }
}

/** Interventions as one layer sees them, checked. */
export interface Intervention {
  /** The router that it was checked against; another one's experts, groups or K may not fit it. */
  madeFor: Pick<RouterConfig, 'numExperts' | 'topK' | 'groupLimit'>
  topK: number
  temperature: number
  disabled: ReadonlySet<number>
  /** [E] */
  bias: Float32Array | null
  forced(place: RouterPlace, row: number): number[] | null
  replace: NonNullable<Interventions['replace']> | null
  capacity: NonNullable<Interventions['capacity']> | null
}

/** What the steps need beside the logits. */
export interface RouteContext extends Partial<Pick<RouterRules, 'scoreBias'>> {
  place?: RouterPlace
  intervention?: Intervention
  /**
   * [T, K] what a device chose. Taken for a token where its scores and these, rounded otherwise, leave more than one choice:
   * the experts compare as equal.
   */
  choice?: Int32Array
}

/** A named array on the host, row-major. */
export interface RouterValue {
  shape: number[]
  data: Float32Array | Int32Array
}

/** One step of a router's arithmetic, with everything that went in and came out. */
export interface RouterStep {
  name: RouterStepName | 'logits'
  /** z logits, s scores, c what experts are compared by, w weights. */
  formula: string
  /** What happens here, in plain words. */
  sentence: string
  /** False when this router has no such step and the values pass through. */
  applies: boolean
  inputs: Record<string, RouterValue>
  outputs: Record<string, RouterValue>
}

export type RouterStepName =
  | 'temperature'
  | 'disable'
  | 'scores'
  | 'choosing-bias'
  | 'group-limit'
  | 'top-k'
  | 'force'
  | 'renormalise'
  | 'scale'
  | 'replace'
  | 'capacity'

/** What the steps hand on; arrays are row-major and never changed in place. */
export interface RouterState extends RouterRules {
  T: number
  E: number
  K: number
  place: RouterPlace
  intervention: Intervention
  /** [T, K] what a device chose, for tokens where only rounding decides. */
  choice: Int32Array | null
  /** z [T, E] */
  routerLogits: Float32Array
  /** s [T, E] */
  scores: Float32Array
  /** c [T, E], what experts are compared by; minus infinity where one may not be chosen. */
  compared: Float32Array
  /** [T, K], most preferred first */
  expertIndices: Int32Array
  /** w [T, K] */
  expertWeights: Float32Array
}
