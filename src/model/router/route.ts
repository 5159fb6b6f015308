import type { RouterConfig } from '../config.ts'
import { mapValues } from '../tree.ts'
import { checkRouterLayer } from './check.ts'
import { contextOf, ROUTER_STEPS, startState } from './steps.ts'
import type { RouteContext, RouterLayer, RouterState, RouterStep, RouterValue, Routing } from './types.ts'

/**
 * A router's decision for hidden states [T, D] (row-major), one step at a time: stop at any of them and look.
 * The generator's return value is the routing.
 * @throws InputError for arguments that do not fit together, or a NaN or infinite logit
 */
export function* stepRouter(
  hidden: Float32Array,
  layer: RouterLayer,
  context: Pick<RouteContext, 'place' | 'intervention'> = {},
): Generator<RouterStep, Routing> {
  checkRouterLayer(hidden, layer)
  const E = layer.config.numExperts
  const D = layer.weight.length / E
  const T = hidden.length / D
  const routerLogits = routerLogitsOf(hidden, layer, T, D, E)
  yield {
    name: 'logits',
    formula: layer.bias ? 'z = x Wr + b' : 'z = x Wr',
    sentence: `Each token's hidden state meets one vector per expert: ${E} numbers a token, high where they agree.`,
    applies: true,
    inputs: {
      hidden: { shape: [T, D], data: hidden },
      routerWeight: { shape: [D, E], data: layer.weight },
    },
    outputs: { routerLogits: { shape: [T, E], data: routerLogits } },
  }
  return yield* stepsFromLogits(routerLogits, layer.config, contextOf(layer, context))
}

/**
 * Routes logits [T, E] on the host by running every step: the definition that the tensor form must equal.
 * @throws InputError as `stepsFromLogits`
 */
export function route(routerLogits: Float32Array, config: RouterConfig, context: RouteContext = {}): Routing {
  return finishRouting(stepsFromLogits(routerLogits, config, context))
}

/** Runs what is left of a stepped router; `look` is given each step. */
export function finishRouting(
  steps: Generator<RouterStep, Routing>,
  look?: (step: RouterStep) => void,
): Routing {
  let step = steps.next()
  for (; !step.done; step = steps.next()) look?.(step.value)
  return step.value
}

/**
 * The steps after the logits; those of interventions only where one applies. A layer's own choosing bias and what a run
 * changed are its caller's to give: `stepsOf` takes them from a model and a trace.
 * @throws InputError for arguments that do not fit together, or a NaN or infinite logit, naming layer and token
 */
export function* stepsFromLogits(
  routerLogits: Float32Array,
  config: RouterConfig,
  context: RouteContext = {},
): Generator<RouterStep, Routing> {
  let state = startState(routerLogits, config, context)
  for (const step of ROUTER_STEPS) {
    const applies = step.applies(state)
    if (step.intervention && !applies) continue
    const before = state
    if (applies) state = { ...state, ...step.run(state) }
    yield {
      name: step.name,
      formula: step.formula(state),
      sentence: applies ? step.sentence(state) : step.otherwise,
      applies,
      inputs: {
        ...valuesOf(before, step.reads),
        ...(applies && mapValues(step.constants?.(before) ?? {}, (data) => ({ shape: [data.length], data }))),
      },
      outputs: valuesOf(state, step.writes),
    }
  }
  const { expertIndices, expertWeights, E } = state
  return { expertIndices, expertWeights, tokensPerExpert: countTokens(expertIndices, E) }
}

/** Assignments of each expert [E]; dropped ones (-1) do not count. */
export function countTokens(expertIndices: Int32Array, numExperts: number): Int32Array {
  const tokensPerExpert = new Int32Array(numExperts)
  for (const e of expertIndices) if (e >= 0) tokensPerExpert[e]++
  return tokensPerExpert
}

function valuesOf(state: RouterState, names: readonly (keyof RouterState)[]): Record<string, RouterValue> {
  return Object.fromEntries(
    names.map((name) => {
      const data = state[name] as Float32Array | Int32Array
      return [name, { shape: [state.T, data.length / state.T], data }]
    }),
  )
}

function routerLogitsOf(
  hidden: Float32Array,
  layer: RouterLayer,
  T: number,
  D: number,
  E: number,
): Float32Array {
  const logits = new Float32Array(T * E)
  for (let t = 0; t < T; t++) {
    for (let e = 0; e < E; e++) {
      let z = layer.bias ? layer.bias[e] : 0
      for (let d = 0; d < D; d++) z += hidden[t * D + d] * layer.weight[d * E + e]
      logits[t * E + e] = z
    }
  }
  return logits
}
