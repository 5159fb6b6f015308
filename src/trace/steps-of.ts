import { assertObject, assertWhole } from '../checks.ts'
import { InputError } from '../errors.ts'
import type { ModelConfig, MoeConfig, RouterConfig } from '../model/config.ts'
import { interventionFor } from '../model/router/interventions.ts'
import { finishRouting, stepsFromLogits } from '../model/router/route.ts'
import { contextOf } from '../model/router/steps.ts'
import type { RouteContext, RouterStep, RouterValue, Routing } from '../model/router/types.ts'
import { assertTrace, type LayerTrace, type RoutingTrace } from '../model/trace.ts'
import { mapValues } from '../model/tree.ts'
import { type ModelWeights, type MoeWeights, routerRules } from '../model/weights.ts'

/** What stepping needs of a model; `MoeModel` is one. */
export interface SteppedModel {
  readonly config: ModelConfig
  readonly weights: ModelWeights
}

/** One layer's steps for the tokens of a call, and the routing that they come to. */
export interface CallSteps {
  steps: RouterStep[]
  routing: Routing
}

/** Weights that differ by less are the same: float32 softmax on a device against float64 rounded on the host. */
const SAME_WEIGHT = 1e-5

/**
 * The router's steps that led to what a trace recorded: from its logits, with the layer's own config and choosing bias and
 * with the interventions of the run. They always come to the recorded decision, or it is an error.
 *
 * `layer` is the model's layer number (`trace.layers[i].layer`), `token` a row of the trace. Values are [E] or [K] of that
 * token; without `token` [T, E] or [T, K] of all.
 * @throws InputError for a layer or token that the trace has not, or a trace that is of another model or was changed
 */
export function stepsOf(
  model: SteppedModel,
  trace: RoutingTrace,
  layer: number,
  token?: number,
): RouterStep[] {
  assertObject('model', model, 'a model that loadModel returned')
  assertObject('model.config', model.config, 'the config of a model')
  assertObject('model.weights', model.weights, 'the weights of a model')
  assertTrace('trace', trace)
  const recorded = trace.layers.find((l) => l.layer === layer)
  if (!recorded) {
    const numbers = trace.layers.map((l) => l.layer)
    const expected = numbers.length > 0 ? `expected one of ${numbers.join(', ')}` : 'every layer is dense'
    throw new InputError(`layer: the trace has no layer ${layer} with a router, ${expected}`)
  }
  if (token !== undefined) assertWhole('token', token, 0, trace.rows.length - 1)
  else if (trace.callLengths) {
    throw new InputError(`token: expected one: the trace joins ${trace.callLengths.length} calls`)
  }
  const call = callOf(trace, token ?? 0)
  const part = layerOfCall(recorded, call)
  const { steps, routing } = callSteps(model, part, call.rows, trace.interventions)
  const rows = token === undefined ? [...call.rows.keys()] : [token - call.from]
  const wrong = rows.find((t) => !agrees(part, routing, t))
  if (wrong !== undefined) throw disagreement(part, routing, wrong, call.from)
  return token === undefined ? steps : steps.map((step) => stepOfRow(step, token - call.from))
}

/** The rows of the call that row `t` of a trace belongs to: a capacity limit counts the tokens of a call. */
export function callOf(trace: RoutingTrace, t: number): { from: number; rows: RoutingTrace['rows'] } {
  let from = 0
  for (const length of trace.callLengths ?? [trace.rows.length]) {
    if (t < from + length) return { from, rows: trace.rows.slice(from, from + length) }
    from += length
  }
  throw new Error(`the trace has no row ${t}`)
}

/** What a layer recorded of one call's tokens. */
export function layerOfCall(
  layer: LayerTrace,
  { from, rows }: { from: number; rows: RoutingTrace['rows'] },
): LayerTrace {
  const to = from + rows.length
  const { numExperts: E, topK: K } = layer
  return {
    ...layer,
    routerLogits: layer.routerLogits.subarray(from * E, to * E),
    scores: layer.scores.subarray(from * E, to * E),
    ...(layer.compared ? { compared: layer.compared.subarray(from * E, to * E) } : {}),
    expertIndices: layer.expertIndices.subarray(from * K, to * K),
    expertWeights: layer.expertWeights.subarray(from * K, to * K),
    margins: layer.margins.slice(from, to),
    entropies: layer.entropies.subarray(from, to),
  }
}

/** Runs a layer's steps again from the logits that it recorded of one call. */
export function callSteps(
  model: SteppedModel,
  layer: LayerTrace,
  rows: RoutingTrace['rows'],
  interventions: RoutingTrace['interventions'],
): CallSteps {
  const { moe, weights } = mixtureOf(model, layer)
  const { router } = moe
  const context = contextOf(routerRules(moe, weights), {
    place: { layer: layer.layer, rows },
    intervention: interventions && interventionFor(interventions, router, layer.layer),
  })
  const own = run(layer, router, context)
  const all = [...rows.keys()]
  const isChoice = layer.topK === router.topK && !layer.expertIndices.includes(-1)
  const routing =
    interventions || !isChoice || all.every((t) => agrees(layer, own.routing, t))
      ? own
      : run(layer, router, { ...context, choice: layer.expertIndices })
  const steps = [logitsStep(layer, weights.router.bias !== null), ...routing.steps]
  return { steps, routing: routing.routing }
}

/** Whether steps came to what was recorded of a token. */
export function agrees(layer: LayerTrace, routing: Routing, t: number): boolean {
  const K = layer.topK
  for (let at = t * K; at < (t + 1) * K; at++) {
    if (routing.expertIndices[at] !== layer.expertIndices[at]) return false
    if (!(Math.abs(routing.expertWeights[at] - layer.expertWeights[at]) <= SAME_WEIGHT)) return false
  }
  return true
}

/** A step of a whole call, cut to one of its tokens. */
export function stepOfRow(step: RouterStep, t: number): RouterStep {
  const cut = (values: Record<string, RouterValue>) =>
    mapValues(values, ({ shape, data }) =>
      shape.length === 1 // the same for every token
        ? { shape, data }
        : { shape: [shape[1]], data: data.slice(t * shape[1], (t + 1) * shape[1]) },
    )
  return { ...step, inputs: cut(step.inputs), outputs: cut(step.outputs) }
}

function mixtureOf(
  { config, weights }: SteppedModel,
  { layer, numExperts }: LayerTrace,
): { moe: MoeConfig; weights: MoeWeights } {
  const own = config.layers[layer]?.feedForward
  const feedForward = weights.blocks[layer]?.feedForward
  if (own?.kind !== 'moe' || feedForward?.kind !== 'moe' || own.router.numExperts !== numExperts) {
    const has = own?.kind === 'moe' ? `${own.router.numExperts} experts` : 'no router'
    throw new InputError(
      `trace: layer ${layer} has ${numExperts} experts, and the model's has ${has}: the trace is of another model`,
    )
  }
  return { moe: own, weights: feedForward }
}

function run({ routerLogits }: LayerTrace, router: RouterConfig, context: RouteContext): CallSteps {
  const steps: RouterStep[] = []
  const routing = finishRouting(stepsFromLogits(routerLogits, router, context), (step) => steps.push(step))
  return { steps, routing }
}

/** The logits as they were recorded: a trace does not keep the hidden states that they came from. */
function logitsStep({ routerLogits, numExperts: E }: LayerTrace, hasBias: boolean): RouterStep {
  return {
    name: 'logits',
    formula: hasBias ? 'z = x Wr + b' : 'z = x Wr',
    sentence: `The token's hidden state met one vector per expert: ${E} numbers, high where they agree. As recorded.`,
    applies: true,
    inputs: {},
    outputs: { routerLogits: { shape: [routerLogits.length / E, E], data: routerLogits } },
  }
}

function disagreement(layer: LayerTrace, routing: Routing, t: number, from: number): InputError {
  const K = layer.topK
  const of = ({ expertIndices, expertWeights }: Routing) => {
    const weights = Array.from(expertWeights.subarray(t * K, (t + 1) * K), (w) => Number(w.toPrecision(4)))
    return `experts ${expertIndices.subarray(t * K, (t + 1) * K).join(', ')} with weights ${weights.join(', ')}`
  }
  return new InputError(
    `trace: token ${from + t} of layer ${layer.layer} recorded ${of(layer)}, and this model's router comes to ${of(routing)}: the trace is of another model, or was changed`,
  )
}
