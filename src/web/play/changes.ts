import type { CapacityPolicy, Interventions } from '../../model/router/types.ts'
import { CAPACITY_POLICIES } from '../../model/router/types.ts'
import type { RoutingTrace } from '../../model/trace.ts'

/** What the reader changed about the routing; null and '' leave it as it is. */
export interface Changes {
  topK: number | null
  temperature: number
  capacity: number | null
  policy: CapacityPolicy
  route: 'router' | 'random' | 'round-robin' | 'replay'
  seed: number
  /** The prompt whose routing is replayed. */
  replay: string
  off: { layer: number; expert: number }[]
}

export const UNCHANGED: Changes = {
  topK: null,
  temperature: 1,
  capacity: null,
  policy: 'drop',
  route: 'router',
  seed: 0,
  replay: '',
  off: [],
}

/** As the engine takes them; undefined where nothing is changed. `recorded` is what `replay` stands for, once it is there. */
export function interventionsOf(changes: Changes, recorded: RoutingTrace | null): Interventions | undefined {
  const { topK, temperature, capacity, policy, route, seed, off } = changes
  const interventions: Interventions = {}
  if (topK !== null) interventions.topK = topK
  if (temperature !== 1) interventions.temperature = temperature
  if (capacity !== null) interventions.capacity = { factor: capacity, policy }
  if (off.length > 0) interventions.disable = off
  if (route === 'random') interventions.replace = { by: 'random', seed }
  if (route === 'round-robin') interventions.replace = { by: 'round-robin' }
  if (route === 'replay' && recorded) {
    interventions.replace = { by: 'trace', trace: recorded }
    interventions.topK ??= recorded.layers[0].topK
  }
  return Object.keys(interventions).length > 0 ? interventions : undefined
}

/** The same as flags of the command line; null where nothing is changed. */
export function flagsOf({
  topK,
  temperature,
  capacity,
  policy,
  route,
  seed,
  replay,
  off,
}: Changes): string | null {
  const flags = [
    topK !== null && `--top-k ${topK}`,
    off.length > 0 && `--disable ${off.map(({ layer, expert }) => `${layer}:${expert}`).join()}`,
    temperature !== 1 && `--router-temperature ${temperature}`,
    route === 'random' && `--route random --seed ${seed}`,
    route === 'round-robin' && '--route round-robin',
    capacity !== null && `--capacity ${capacity} --capacity-policy ${policy}`,
    route === 'replay' && replay !== '' && '--replay trace.json',
  ]
  return flags.filter(Boolean).join(' ') || null
}

/** Into the address: only what is changed. */
export function changesToQuery(changes: Changes, query: URLSearchParams): void {
  const { topK, temperature, capacity, policy, route, seed, replay, off } = changes
  if (topK !== null) query.set('k', String(topK))
  if (temperature !== 1) query.set('temperature', String(temperature))
  if (capacity !== null) query.set('capacity', `${capacity},${policy}`)
  if (route !== 'router') query.set('route', route)
  if (route === 'random') query.set('seed', String(seed))
  if (route === 'replay') query.set('replay', replay)
  if (off.length > 0) query.set('off', off.map(({ layer, expert }) => `${layer}:${expert}`).join())
}

/** Out of an address, which anybody may have written: what is no such value is left as it is. */
export function changesFromQuery(query: URLSearchParams): Changes {
  const number = (name: string, fallback: number, isValid: (value: number) => boolean) => {
    const value = Number(query.get(name) ?? Number.NaN)
    return isValid(value) ? value : fallback
  }
  const isCount = (value: number) => Number.isInteger(value) && value >= 0
  const [factor, policy] = (query.get('capacity') ?? '').split(',')
  const route = (['random', 'round-robin', 'replay'] as const).find((each) => each === query.get('route'))
  const off = [...(query.get('off') ?? '').matchAll(/(\d+):(\d+)/g)]
  return {
    topK: number('k', 0, isCount) || null,
    temperature: number('temperature', 1, (value) => value > 0 && value <= 100),
    capacity: Number(factor) > 0 ? Number(factor) : null,
    policy: CAPACITY_POLICIES.find((each) => each === policy) ?? 'drop',
    route: route ?? 'router',
    seed: number('seed', 0, isCount),
    replay: query.get('replay') ?? '',
    off: off.map(([, layer, expert]) => ({ layer: Number(layer), expert: Number(expert) })),
  }
}
