import {
  assertNames,
  assertNumbers,
  assertObject,
  assertOneOf,
  assertThat,
  assertWhole,
  shown,
} from '../../checks.ts'
import { InputError } from '../../errors.ts'
import { GROUP_SCORES, type RouterConfig, SCORINGS, WEIGHTINGS } from '../config.ts'
import type { Intervention, RouteContext, RouterLayer } from './types.ts'

/** Names by type: one that the type gains or loses does not compile here. */
const CONTEXT = { scoreBias: 0, place: 0, intervention: 0, choice: 0 } satisfies Record<keyof RouteContext, 0>

/** @throws InputError naming the field, its value and what was expected */
export function checkRouterConfig(config: RouterConfig): void {
  assertObject('config', config, 'a RouterConfig, such as softmaxTopK(8, 2)')
  const { numExperts: E, topK, scoring, weighting, normEpsilon, scalingFactor, groupLimit } = config
  const { normOrder = 1, jitter = 0 } = config
  assertWhole('numExperts', E, 1)
  assertWhole('topK', topK, 1, E)
  assertOneOf('scoring', scoring, SCORINGS)
  assertOneOf('weighting', weighting, WEIGHTINGS)
  finite('normEpsilon', normEpsilon, normEpsilon >= 0, 'a number from 0')
  finite('normOrder', normOrder, normOrder > 0, 'a number above 0')
  finite('scalingFactor', scalingFactor, true, 'a number')
  finite('jitter', jitter, jitter >= 0, 'a number from 0')
  if (groupLimit !== null) checkGroupLimit(groupLimit, E, topK)
}

function checkGroupLimit(limit: NonNullable<RouterConfig['groupLimit']>, E: number, topK: number): void {
  assertObject('groupLimit', limit, 'null or { groups, keep, score }')
  const { groups, keep, score } = limit
  assertWhole('groupLimit.groups', groups, 1, E)
  assertThat('groupLimit.groups', groups, E % groups === 0, `a divisor of numExperts=${E}`)
  assertWhole('groupLimit.keep', keep, 1, groups)
  assertOneOf('groupLimit.score', score, GROUP_SCORES)
  const most = (keep * E) / groups
  const why = `a token may use ${keep} of ${groups} groups of experts`
  assertThat('topK', topK, topK <= most, `at most ${most}: ${why}`)
}

/** What `route` and `stepsFromLogits` are given. @throws InputError naming the argument */
export function checkRoute(routerLogits: Float32Array, config: RouterConfig, context: RouteContext): void {
  checkRouterConfig(config)
  const E = config.numExperts
  assertNumbers('routerLogits', routerLogits, Float32Array, '[T, E]')
  assertRows('routerLogits', routerLogits.length, E, `numExperts=${E}`)
  assertObject('context', context, '{ scoreBias, place, intervention }, each of which may be left out')
  assertNames('context', context, CONTEXT)
  const { scoreBias, place, intervention, choice } = context
  if (scoreBias) checkBias('scoreBias', scoreBias, E)
  if (place) {
    assertWhole('place.layer', place.layer, 0)
    const T = routerLogits.length / E
    if (place.rows && place.rows.length !== T) {
      throw new InputError(`place.rows: has ${place.rows.length} rows, expected ${T}, one a token`)
    }
  }
  if (intervention) checkIntervention(intervention, config)
  if (choice) checkChoice(choice, routerLogits.length / E, E, intervention?.topK ?? config.topK)
}

function checkChoice(choice: Int32Array, T: number, E: number, K: number): void {
  assertNumbers('choice', choice, Int32Array, '[T, K]', T * K)
  for (let t = 0; t < T; t++) {
    const row = [...choice.subarray(t * K, (t + 1) * K)]
    if (new Set(row).size === K && row.every((e) => e >= 0 && e < E)) continue
    throw new InputError(
      `choice: is ${shown(row)} for token ${t}, expected ${K} different experts from 0 to ${E - 1}`,
    )
  }
}

/** What `stepRouter` is given beside the context. @throws InputError naming the argument */
export function checkRouterLayer(hidden: Float32Array, layer: RouterLayer): void {
  assertObject('layer', layer, '{ config, weight, bias, scoreBias }')
  checkRouterConfig(layer.config)
  const E = layer.config.numExperts
  assertNumbers('weight', layer.weight, Float32Array, '[D, E]')
  assertRows('weight', layer.weight.length, E, `numExperts=${E}`)
  if (layer.bias) checkBias('bias', layer.bias, E)
  assertNumbers('hidden', hidden, Float32Array, '[T, D]')
  const D = layer.weight.length / E
  assertRows('hidden', hidden.length, D, `D=${D}`)
}

function assertRows(what: string, length: number, width: number, named: string): void {
  if (length > 0 && length % width === 0) return
  throw new InputError(`${what}: has ${length} values, expected a multiple of ${named}`)
}

function checkBias(what: string, bias: Float32Array, E: number): void {
  assertNumbers(what, bias, Float32Array, '[E]', E)
  const at = bias.findIndex((value) => !Number.isFinite(value))
  if (at >= 0) throw new InputError(`${what}: is ${bias[at]} for expert ${at}, expected a finite number`)
}

/** The likely mistake: interventions as a forward takes them. */
function checkIntervention(intervention: Intervention, config: RouterConfig): void {
  const { disabled, forced, madeFor } = intervention
  const isMade = disabled instanceof Set && typeof forced === 'function' && Boolean(madeFor)
  assertThat(
    'intervention',
    intervention,
    isMade,
    'what interventionFor(interventions, config, layer) returns',
  )
  const fields = ({ numExperts, topK, groupLimit: limit }: Intervention['madeFor']) => ({
    numExperts,
    topK,
    groups: limit?.groups ?? null,
    keep: limit?.keep ?? null,
  })
  const own = Object.entries(fields(config))
  Object.entries(fields(madeFor)).forEach(([name, value], i) => {
    const expected = own[i][1]
    if (value === expected) return
    throw new InputError(
      `intervention: was made for a router with ${name}=${value}, expected ${name}=${expected} as in config`,
    )
  })
}

function finite(what: string, value: number, inRange: boolean, expected: string): void {
  assertThat(what, value, Number.isFinite(value) && inRange, expected)
}
