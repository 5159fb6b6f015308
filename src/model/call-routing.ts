import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import type { MoeConfig } from './config.ts'
import { moe } from './moe.ts'
import { assertFinite } from './router/steps.ts'
import type { Intervention, RouterPlace } from './router/types.ts'
import type { TraceRecorder } from './trace.ts'
import type { DispatchName } from './ways.ts'
import { type MoeWeights, readsSince, routerRules } from './weights.ts'

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
    const place = { layer, rows: this.rows }
    const context = { place, intervention: this.interventions?.[layer] }
    const { onDisk } = weights
    const before = onDisk && { ...onDisk.reads }
    const { output, routing, routerLogits } = moe(x, weights, config, this.dispatch, context)
    const reads = onDisk && before && readsSince(onDisk, before)
    this.recorder?.routing(routerLogits, routing, routerRules(config, weights), { ...context, reads })
    if (!('tokensPerExpert' in routing)) this.unseen.push({ layer, logits: tf.keep(routerLogits) })
    return output
  }

  /**
   * Looks once a call at the logits that stayed on the device: a NaN would otherwise route somewhere all the same.
   * @throws InputError naming layer and token
   */
  assertFinite(): void {
    if (this.unseen.length === 0) return
    const finite = tf.tidy(() => {
      const all = tf.concat(this.unseen.map(({ logits }) => tf.reshape(logits, [-1])))
      return backend().read(tf.all(tf.isFinite(all)))[0]
    })
    if (finite) return
    for (const { layer, logits } of this.unseen) {
      assertFinite(backend().read(logits), logits.shape[1], { layer, rows: this.rows })
    }
  }

  dispose(): void {
    for (const { logits } of this.unseen) logits.dispose()
  }
}
