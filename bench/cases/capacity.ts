import * as tf from '@tensorflow/tfjs-core'
import { countMatmulFlops } from '../../src/cost/index.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { interventionFor } from '../../src/model/router/interventions.ts'
import type { Routing } from '../../src/model/router/types.ts'
import { summarize } from '../../src/samples.ts'
import type { CapacityRow, RoutingKind } from '../schema.ts'
import { type SamplingLimits, sampleInterleaved } from '../timing.ts'
import { finish } from './finish.ts'
import { layerGroup } from './layer.ts'
import { type RandomLayer, randomRows } from './random-layer.ts'
import { logitPush } from './routing.ts'

/**
 * A layer with a limit of tokens an expert, by factor (null: none), what is over dropped. All route on the host, where limits are
 * applied, so that they are comparable among themselves. Rows only for what was measured before an interrupt.
 */
export async function measureCapacity(
  layer: RandomLayer,
  {
    T,
    routing,
    factors,
    seed,
  }: { T: number; routing: RoutingKind; factors: (number | null)[]; seed: number },
  limits: SamplingLimits,
  signal: AbortSignal,
): Promise<CapacityRow[]> {
  const { dims, weights, config } = layer
  const x = randomRows(T, dims.D, seed)
  const push = logitPush(routing, T, dims)
  const place = { layer: 0 }
  const run = (factor: number | null) =>
    tf.tidy(() => {
      const capacity = {
        factor: factor ?? 1,
        policy: factor === null ? ('none' as const) : ('drop' as const),
      }
      const intervention = interventionFor({ capacity }, config.router, place.layer)
      const logits = linear(x, weights.router)
      const pushed = push ? tf.add(logits, push) : logits
      const made = routeAndDispatch(x, pushed as tf.Tensor2D, weights, config, 'sparse', {
        place,
        intervention,
      })
      finish(made.output)
      return (made.routing as Routing).tokensPerExpert.reduce((a, b) => a + b, 0) // kept assignments
    })
  try {
    const counted = factors.map((factor) => countMatmulFlops(() => run(factor)))
    const variants = factors.map((factor) => ({ run: () => void run(factor) }))
    const { samples } = await sampleInterleaved(variants, limits, signal)
    return factors.flatMap((factor, i) => {
      if (samples[i].length === 0) return []
      const { n, medianMs, p10Ms, p90Ms } = summarize(samples[i])
      return {
        id: `${layerGroup(dims, T, routing)}/capacity-${factor ?? 'none'}`,
        tokens: T,
        dims,
        routing,
        factor,
        droppedShare: 1 - counted[i].result / (T * dims.K),
        flopsCounted: counted[i].flops,
        n,
        medianMs,
        p10Ms,
        p90Ms,
      }
    })
  } finally {
    x.dispose()
    push?.dispose()
  }
}
