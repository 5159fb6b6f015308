import { assertOneOf, assertWhole } from '../../checks.ts'
import { InputError } from '../../errors.ts'
import type { ModelConfig, RouterConfig } from '../config.ts'
import { checkRouterConfig } from './check.ts'
import { checkForm } from './check-interventions.ts'
import {
  CAPACITY_POLICIES,
  type Intervention,
  type Interventions,
  type RecordedRouting,
  type RouterPlace,
  type RouterState,
} from './types.ts'

/** A layer left to its own router. */
export function withoutIntervention(config: RouterConfig): Intervention {
  return {
    madeFor: config,
    topK: config.topK,
    temperature: 1,
    disabled: new Set(),
    bias: null,
    forced: () => null,
    replace: null,
    capacity: null,
  }
}

/**
 * Interventions as each of a model's layers sees them; undefined for a dense one.
 * @throws InputError as `interventionFor`, and for a layer without a router
 */
export function interventionsByLayer(
  interventions: Interventions,
  layers: ModelConfig['layers'],
): (Intervention | undefined)[] {
  checkForm(interventions)
  checkLayers(
    interventions,
    layers.flatMap(({ feedForward }, layer) => (feedForward.kind === 'moe' ? [layer] : [])),
  )
  return layers.map(({ feedForward }, i) =>
    feedForward.kind === 'moe' ? interventionFor(interventions, feedForward.router, i) : undefined,
  )
}

/** An intervention that names a layer must not pass unheard. */
function checkLayers({ disable, bias, force, replace }: Interventions, mixtures: number[]): void {
  if (mixtures.length === 0) throw new InputError('interventions: every layer is dense, so none has a router')
  const expected = `expected a layer with a router (${mixtures.join(', ')})`
  const hasNone = ({ layer }: { layer?: number }) => layer !== undefined && !mixtures.includes(layer)
  for (const [name, list] of Object.entries({ disable, bias, force })) {
    const wrong = list?.find(hasNone)
    if (wrong) throw new InputError(`${name}: layer ${wrong.layer}, ${expected}`)
  }
  const foreign = replace?.by === 'trace' ? replace.trace.layers.find(hasNone) : undefined
  if (foreign) throw new InputError(`replay: the trace has layer ${foreign.layer}, ${expected}`)
}

/**
 * What `interventions` mean for one layer, as `route` and the steps take it.
 * @throws InputError naming the intervention, the value and what was expected
 */
export function interventionFor(
  interventions: Interventions,
  config: RouterConfig,
  layer: number,
): Intervention {
  checkForm(interventions)
  checkRouterConfig(config)
  assertWhole('layer', layer, 0)
  const E = config.numExperts
  const here = <T extends { layer?: number }>(list: T[] | undefined) =>
    (list ?? []).filter((item) => item.layer === undefined || item.layer === layer)
  const topK = interventions.topK ?? config.topK
  integer('topK', topK, 1, E, layer)
  positive('temperature', interventions.temperature ?? 1)
  checkGroups(topK, config, layer)
  const disabled = new Set(
    here(interventions.disable).map(({ expert }) => integer('disable', expert, 0, E - 1, layer)),
  )
  checkEnough(disabled, topK, config, layer)
  const force = here(interventions.force)
  checkForced(force, topK, E, disabled, layer)
  if (force.length > 0 && interventions.replace) {
    throw new InputError(`interventions: force and replace (${interventions.replace.by}) exclude each other`)
  }
  const { capacity } = interventions
  if (capacity) {
    positive('capacity factor', capacity.factor)
    assertOneOf('capacity policy', capacity.policy, CAPACITY_POLICIES)
  }
  return {
    madeFor: config,
    topK,
    temperature: interventions.temperature ?? 1,
    disabled,
    bias: biasOf(here(interventions.bias), E, layer),
    forced: (place, row) => {
      const { sequence, position } = placeOf(place, row)
      return (
        force.find((f) => f.position === position && (f.sequence ?? sequence) === sequence)?.experts ?? null
      )
    },
    replace: interventions.replace ?? null,
    capacity: capacity ?? null,
  }
}

/** Whether a layer has enough experts to choose from without one more, beside other interventions. */
export function canSpare(
  expert: number,
  config: RouterConfig,
  layer: number,
  others: Interventions = {},
): boolean {
  return canFollow({ ...others, disable: [...(others.disable ?? []), { expert, layer }] }, config, layer)
}

/** Whether a layer's router can do what the interventions say. */
export function canFollow(interventions: Interventions, config: RouterConfig, layer: number): boolean {
  try {
    interventionFor(interventions, config, layer)
    return true
  } catch (error) {
    if (error instanceof InputError) return false
    throw error
  }
}

/** Sequence and position of a row. */
export function placeOf({ rows }: RouterPlace, row: number): { sequence: number; position: number } {
  return rows?.[row] ?? { sequence: 0, position: row }
}

/** Expert indices and weights of `replace`. */
export function replaceRouting(state: RouterState): Pick<RouterState, 'expertIndices' | 'expertWeights'> {
  const { intervention, place, T, E, K, config } = state
  const { replace, disabled } = intervention
  if (replace?.by === 'trace') return replayed(replace.trace, state)
  const enabled = Array.from({ length: E }, (_, e) => e).filter((e) => !disabled.has(e))
  const expertIndices = new Int32Array(T * K)
  for (let t = 0; t < T; t++) {
    const { sequence, position } = placeOf(place, t)
    const chosen =
      replace?.by === 'random'
        ? randomExperts(enabled, K, [replace.seed, place.layer, sequence, position])
        : Array.from({ length: K }, (_, j) => enabled[(position * K + j) % enabled.length])
    expertIndices.set(chosen, t * K)
  }
  return { expertIndices, expertWeights: new Float32Array(T * K).fill(config.scalingFactor / K) }
}

function replayed(
  trace: RecordedRouting,
  { place, T, E, K, intervention }: RouterState,
): Pick<RouterState, 'expertIndices' | 'expertWeights'> {
  const recorded = trace.layers.find((l) => l.layer === place.layer)
  if (!recorded) throw new InputError(`replay: the trace has no layer ${place.layer}`)
  if (recorded.numExperts !== E) {
    throw new InputError(
      `replay: layer ${place.layer} of the trace has ${recorded.numExperts} experts, expected ${E}`,
    )
  }
  if (recorded.topK !== K) {
    throw new InputError(`replay: layer ${place.layer} of the trace has topK ${recorded.topK}, expected ${K}`)
  }
  const expertIndices = new Int32Array(T * K)
  const expertWeights = new Float32Array(T * K)
  for (let t = 0; t < T; t++) {
    const { sequence, position } = placeOf(place, t)
    const row = trace.rows.findIndex((r) => r.sequence === sequence && r.position === position)
    if (row < 0) throw new InputError(`replay: the trace has no token ${position} of sequence ${sequence}`)
    const experts = recorded.expertIndices.subarray(row * K, (row + 1) * K)
    const off = experts.find((e) => intervention.disabled.has(e))
    if (off !== undefined) {
      throw new InputError(
        `replay: sends token ${position} to expert ${off} of layer ${place.layer}, which is disabled`,
      )
    }
    expertIndices.set(experts, t * K)
    expertWeights.set(recorded.expertWeights.subarray(row * K, (row + 1) * K), t * K)
  }
  return { expertIndices, expertWeights }
}

/** The k experts whose hash with the place is smallest: a draw without replacement that needs no state. */
function randomExperts(enabled: number[], k: number, place: number[]): number[] {
  const keyed = enabled.map((e) => ({ e, key: hash([...place, e]) }))
  return keyed
    .sort((a, b) => a.key - b.key || a.e - b.e)
    .slice(0, k)
    .map(({ e }) => e)
}

/** MurmurHash3's 32-bit mixing of a few integers. */
function hash(values: number[]): number {
  let h = 0
  for (const value of values) {
    h = Math.imul((h ^ value) + 0x9e3779b9, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    h ^= h >>> 16
  }
  return h >>> 0
}

function biasOf(list: { expert: number; value: number }[], E: number, layer: number): Float32Array | null {
  if (list.length === 0) return null
  const bias = new Float32Array(E)
  for (const { expert, value } of list) {
    integer('bias', expert, 0, E - 1, layer)
    bias[expert] += value
    if (!Number.isFinite(bias[expert])) {
      throw new InputError(`bias: ${value} for expert ${expert}, expected a number that float32 can hold`)
    }
  }
  return bias
}

function checkEnough(
  disabled: ReadonlySet<number>,
  topK: number,
  { numExperts, groupLimit }: RouterConfig,
  layer: number,
): void {
  const enabled = numExperts - disabled.size
  if (enabled < topK) {
    throw new InputError(
      `disable: leaves ${enabled} of ${numExperts} experts in layer ${layer}, expected at least topK=${topK}`,
    )
  }
  if (!groupLimit) return
  const { groups, keep } = groupLimit
  const left = new Array<number>(groups).fill(numExperts / groups)
  for (const expert of disabled) left[Math.floor((expert * groups) / numExperts)]--
  const fewest = left.sort((a, b) => a - b).slice(0, keep)
  if (fewest.reduce((a, b) => a + b, 0) < topK) {
    throw new InputError(
      `disable: could leave fewer than topK=${topK} experts in layer ${layer}, where a token may use ${keep} of ${groups} groups`,
    )
  }
}

function checkGroups(topK: number, { numExperts, groupLimit }: RouterConfig, layer: number): void {
  if (!groupLimit) return
  const { groups, keep } = groupLimit
  const most = (keep * numExperts) / groups
  if (topK > most) {
    throw new InputError(
      `topK: ${topK} in layer ${layer}, expected at most ${most}: a token may use ${keep} of ${groups} groups of experts`,
    )
  }
}

function checkForced(
  force: { position: number; experts: number[]; sequence?: number }[],
  topK: number,
  E: number,
  disabled: ReadonlySet<number>,
  layer: number,
): void {
  for (const [i, { position, experts, sequence }] of force.entries()) {
    const same = force.findIndex(
      (f) => f.position === position && (f.sequence ?? sequence) === (sequence ?? f.sequence),
    )
    if (same < i) {
      throw new InputError(`force: token ${position} of layer ${layer} is sent twice, expected once`)
    }
    if (experts.length < 1 || experts.length > topK || new Set(experts).size < experts.length) {
      throw new InputError(
        `force: token ${position} to experts [${experts}], expected 1 to ${topK} different ones`,
      )
    }
    for (const expert of experts) {
      integer('force', expert, 0, E - 1, layer)
      if (disabled.has(expert)) throw new InputError(`force: expert ${expert} of layer ${layer} is disabled`)
    }
  }
}

function integer(what: string, value: number, min: number, max: number, layer: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new InputError(`${what}: ${value} in layer ${layer}, expected a whole number from ${min} to ${max}`)
  }
  return value
}

function positive(what: string, value: number): void {
  if (!(Number.isFinite(value) && value > 0))
    throw new InputError(`${what}: ${value}, expected a number above 0`)
}
