import * as tf from '@tensorflow/tfjs-core'
import type { MoeConfig } from './config.ts'
import { type DispatchName, routeAndDispatch } from './dispatch/index.ts'
import { applyExpert } from './experts.ts'
import type { Intervention, RouterPlace } from './interventions.ts'
import { linear } from './linear.ts'
import { assertFinite } from './router.ts'
import type { TraceRecorder } from './trace.ts'
import type { MoeWeights } from './weights.ts'

/** What the mixture layers of one forward share: how to dispatch, who intervenes, where to record. */
export class CallRouting {
  /** Router logits that no one has looked at yet, because routing stayed on the device. */
  private readonly unseen: { layer: number; logits: tf.Tensor2D }[] = []

  constructor(
    private readonly dispatch: DispatchName | 'auto',
    private readonly rows: RouterPlace['rows'],
    private readonly interventions: (Intervention | undefined)[] | null,
    private readonly recorder: TraceRecorder | null,
  ) {}

  /** Router, experts and shared expert of one layer. x [T, D] -> [T, D]. */
  run(x: tf.Tensor2D, weights: MoeWeights, config: MoeConfig, layer: number): tf.Tensor2D {
    const routerLogits = linear(x, weights.router) // [T, E]
    const context = { place: { layer, rows: this.rows }, intervention: this.interventions?.[layer] }
    const { output, routing } = routeAndDispatch(x, routerLogits, weights, config, this.dispatch, context)
    this.recorder?.routing(
      routerLogits,
      routing,
      { config: config.router, scoreBias: weights.scoreBias },
      context,
    )
    if (!('tokensPerExpert' in routing)) this.unseen.push({ layer, logits: tf.keep(routerLogits) })
    return weights.shared ? tf.tidy(() => tf.add(output, applyExpert(x, weights.shared!))) : output
  }

  /**
   * Looks once a call at the logits that stayed on the device: a NaN would otherwise route somewhere all the same.
   * @throws InputError naming layer and token
   */
  assertFinite(): void {
    if (this.unseen.length === 0) return
    const finite = tf.tidy(() => {
      const all = tf.concat(this.unseen.map(({ logits }) => tf.reshape(logits, [-1])))
      return tf.all(tf.isFinite(all)).dataSync()[0]
    })
    if (finite) return
    for (const { layer, logits } of this.unseen) {
      assertFinite(logits.dataSync() as Float32Array, logits.shape[1], { layer, rows: this.rows })
    }
  }

  dispose(): void {
    for (const { logits } of this.unseen) logits.dispose()
  }
}
