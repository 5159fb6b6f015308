import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../backend/backend.ts'
import type { MoeConfig } from './config.ts'
import { type DispatchName, mixtureLayer, routeAndDispatchTrainable, withShared } from './dispatch/index.ts'
import { linear } from './linear.ts'
import type { Intervention, RouterPlace } from './router/interventions.ts'
import { assertFinite, type Routing } from './router/route.ts'
import type { TraceRecorder } from './trace.ts'
import type { MoeWeights } from './weights.ts'

/** Asks a forward for gradients, and hears of each mixture layer what a balance loss is made of. */
export interface Training {
  /** `routerLogits` [T, E] are differentiable and disposed with the layer: `tf.keep` what is made of them. */
  onRouting(layer: number, routerLogits: tf.Tensor2D, routing: Routing): void
}

/** What the mixture layers of one forward share: how to dispatch, who intervenes, where to record. */
export class CallRouting {
  /** Router logits that no one has looked at yet, because routing stayed on the device. */
  private readonly unseen: { layer: number; logits: tf.Tensor2D }[] = []

  constructor(
    private readonly dispatch: DispatchName | 'auto',
    private readonly rows: RouterPlace['rows'],
    private readonly interventions: (Intervention | undefined)[] | null,
    private readonly recorder: TraceRecorder | null,
    private readonly training: Training | null = null,
  ) {}

  /** Router, experts and shared expert of one layer. x [T, D] -> [T, D]. */
  run(x: tf.Tensor2D, weights: MoeWeights, config: MoeConfig, layer: number): tf.Tensor2D {
    const context = { place: { layer, rows: this.rows }, intervention: this.interventions?.[layer] }
    const { output, routing, routerLogits } = this.training
      ? this.train(this.training, x, weights, config, context.place)
      : mixtureLayer(x, weights, config, this.dispatch, context)
    this.recorder?.routing(
      routerLogits,
      routing,
      { config: config.router, scoreBias: weights.scoreBias },
      context,
    )
    if (!('tokensPerExpert' in routing)) this.unseen.push({ layer, logits: tf.keep(routerLogits) })
    return output
  }

  private train(
    training: Training,
    x: tf.Tensor2D,
    weights: MoeWeights,
    config: MoeConfig,
    place: RouterPlace,
  ): { output: tf.Tensor2D; routing: Routing; routerLogits: tf.Tensor2D } {
    const routerLogits = linear(x, weights.router) // [T, E]
    const { output, routing } = routeAndDispatchTrainable(x, routerLogits, weights, config, place)
    training.onRouting(place.layer, routerLogits, routing)
    return { output: withShared(output, x, weights), routing, routerLogits }
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
