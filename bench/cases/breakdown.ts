import * as tf from '@tensorflow/tfjs-core'
import { backend } from '../../src/backend/backend.ts'
import { combineGrouped, type Grouped, group, groupTensorflow } from '../../src/model/dispatch/sparse.ts'
import { applyExpert, applyExpertTensorflow } from '../../src/model/experts.ts'
import { linear } from '../../src/model/linear.ts'
import { routeAndDispatch } from '../../src/model/moe.ts'
import { route } from '../../src/model/router/route.ts'
import { routeTensors, routingToTensors } from '../../src/model/router/tensors.ts'
import type { Routing, RoutingTensors } from '../../src/model/router/types.ts'
import { routerRules } from '../../src/model/weights.ts'
import { quantile } from '../../src/samples.ts'
import type { Breakdown } from '../schema.ts'
import { type SamplingLimits, sampleInterleaved } from '../timing.ts'
import { finish } from './finish.ts'
import { layerGroup } from './layer.ts'
import { type RandomLayer, randomRows } from './random-layer.ts'

/** One way to do the parts of a sparse dispatch: on the device without reading back, or with the routing on the host. */
interface Parts<R> {
  route(logits: tf.Tensor2D): R
  group(routing: R): Grouped
  expert(rows: tf.Tensor2D, e: number): tf.Tensor2D
  weights(routing: R): tf.Tensor2D
  /** A tensor of the routing whose value shows that it is done; null where it is on the host already. */
  made(routing: R): tf.Tensor | null
}

/**
 * Times router, grouping, experts and combining of a sparse dispatch one by one, each on the others' stored results, and
 * in turn with the whole. Each part ends by reading one of its results: a device does what it is given in order, so
 * the parts' other results are there too. Null when interrupted before a sample.
 */
export async function measureBreakdown(
  layer: RandomLayer,
  T: number,
  seed: number,
  limits: SamplingLimits,
  signal: AbortSignal,
): Promise<Breakdown | null> {
  const x = randomRows(T, layer.dims.D, seed)
  const work = backend().ops ? timed(layer, x, onDevice(layer, x)) : timed(layer, x, onHost(layer, x))
  try {
    const { samples } = await sampleInterleaved(work.parts, limits, signal)
    if (samples.some((list) => list.length === 0)) return null
    const [routerMs, groupMs, matmulMs, combineMs, totalMs] = samples.map((list) => quantile(list, 0.5))
    const of = layerGroup(layer.dims, T, 'real')
    return {
      id: `${of}/breakdown`,
      group: of,
      tokens: T,
      dims: layer.dims,
      routerMs,
      groupMs,
      matmulMs,
      combineMs,
      sumMs: routerMs + groupMs + matmulMs + combineMs,
      totalMs,
      n: Math.min(...samples.map((list) => list.length)),
    }
  } finally {
    work.dispose()
    x.dispose()
  }
}

/** The four parts and the whole. What a part is given is computed once, here. */
function timed<R extends Routing | RoutingTensors>(layer: RandomLayer, x: tf.Tensor2D, by: Parts<R>) {
  const { weights, config } = layer
  const router = () => by.route(linear(x, weights.router))
  const experts = ({ pieces, experts }: Grouped) => pieces.map((rows, i) => by.expert(rows, experts[i]))
  const given = () => {
    const routing = router()
    const grouped = by.group(routing)
    return { routing, grouped, outputs: experts(grouped), expertWeights: by.weights(routing) }
  }
  const kept: ReturnType<typeof given> = tf.tidy(() => given() as never) // the type of tf.tidy knows no interfaces
  const { routing, grouped, outputs, expertWeights } = kept
  const largest = outputs.reduce((best, output, i) => (output.size > outputs[best].size ? i : best), 0)
  const parts = [
    () => by.made(router()),
    () => by.group(routing).place,
    () => experts(grouped)[largest],
    () => combineGrouped(outputs, grouped, expertWeights),
    () => routeAndDispatch(x, linear(x, weights.router), weights, config, 'sparse').output,
  ]
  const run = (part: () => tf.Tensor | null) => {
    tf.tidy(() => {
      const made = part()
      if (made) finish(made)
    })
  }
  return { parts: parts.map((part) => ({ run: () => run(part) })), dispose: () => tf.dispose(kept as never) }
}

function onDevice({ weights, config, dims }: RandomLayer, x: tf.Tensor2D): Parts<RoutingTensors> {
  const ops = backend().ops!
  return {
    route: (logits) => routeTensors(logits, routerRules(config, weights)),
    group: (routing) => groupTensorflow(x, dims.E, routing, ops),
    expert: (rows, e) => applyExpertTensorflow(rows, weights.experts[e], ops),
    weights: (routing) => routing.expertWeights,
    made: (routing) => routing.expertWeights,
  }
}

function onHost({ weights, config }: RandomLayer, x: tf.Tensor2D): Parts<Routing> {
  return {
    route: (logits) => route(logits.dataSync() as Float32Array, config.router),
    group: (routing) => group(x, routing),
    expert: (rows, e) => applyExpert(rows, weights.experts[e]),
    weights: (routing) => routingToTensors(routing, x.shape[0]).expertWeights,
    made: () => null,
  }
}
