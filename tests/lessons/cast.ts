import * as tf from '@tensorflow/tfjs-core'
import { finishRouting, stepRouter } from '../../src/model/router/route.ts'
import type { RouterLayer } from '../../src/model/router/types.ts'
import { type LayerTrace, TraceRecorder } from '../../src/model/trace.ts'
import type { MoeWeights } from '../../src/model/weights.ts'
import { expertTensors } from '../helpers/random.ts'
import type { ReferenceExpert } from '../helpers/reference.ts'

/** The three tokens of lessons 1 to 4 and 6, [T=3, D=2]: A, B and C. */
export const TOKENS = [
  [1, 2],
  [1, 1],
  [1, 0],
]
export const NAMES = ['A', 'B', 'C']

/** One vector an expert, in columns: (0, 0), (ln 2, 0), (0, ln 2). [D=2, E=3] row-major. */
export const ROUTER_WEIGHT = Float32Array.from([0, Math.LN2, 0, 0, 0, Math.LN2])

/** All tokens' numbers one after the other. */
export const HIDDEN = Float32Array.from(TOKENS.flat())

/** A mixture layer on the device with these experts behind the router above. */
export function moeWeights(experts: ReferenceExpert[]): MoeWeights {
  const router = { weight: tf.tensor2d(ROUTER_WEIGHT, [2, 3]), bias: null }
  return { kind: 'moe', router, scoreBias: null, experts: experts.map(expertTensors) }
}

/** What the engine records of a router's decision for logits [T, E]. */
export function record(logits: number[][], router: Pick<RouterLayer, 'config'>): LayerTrace {
  const [T, E] = [logits.length, logits[0].length]
  const identity = Float32Array.from({ length: E * E }, (_, i) => (i % (E + 1) === 0 ? 1 : 0))
  const routing = finishRouting(
    stepRouter(Float32Array.from(logits.flat()), {
      ...router,
      weight: identity,
      bias: null,
      scoreBias: null,
    }),
  )
  const rows = Array.from({ length: T }, (_, position) => ({ sequence: 0, position, token: position }))
  const recorder = new TraceRecorder(Int32Array.from(rows.keys()), rows, {})
  recorder.routing(
    tf.tensor2d(logits),
    routing,
    { config: router.config, scoreBias: null },
    { place: { layer: 0 } },
  )
  return recorder.trace.layers[0]
}
