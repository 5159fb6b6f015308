import type * as tf from '@tensorflow/tfjs-core'
import type { RouterConfig } from '../config.ts'
import type { Intervention } from './interventions.ts'

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
